"""Private temporary folders: removed with their process, or by the next one if it was killed. Others stay."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagemill.data.storage.scratch import MAX_SOCKET_BYTES, OWNER, PREFIX

OWNS = "from imagemill.data.storage.scratch import scratch_folder; print(scratch_folder(), flush=True)"

Owner = Callable[[], tuple[subprocess.Popen, Path]]


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    """Starts a process that owns a temporary folder below the test's until its input ends."""
    started: list[subprocess.Popen] = []

    def start() -> tuple[subprocess.Popen, Path]:
        process = subprocess.Popen(
            [sys.executable, "-c", f"{OWNS}; input()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
        started.append(process)
        return process, Path(process.stdout.readline().strip())

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_the_folder_of_a_killed_process_is_removed_by_the_next_one_and_that_of_a_living_one_is_not(owner: Owner):
    killed, abandoned = owner()
    _, alive = owner()
    assert (abandoned / OWNER).exists()
    killed.kill()
    killed.wait()
    _, mine = owner()
    assert (abandoned.exists(), alive.exists(), mine.exists()) == (False, True, True)
    assert mine.stat().st_mode & 0o777 == 0o700


def test_a_process_that_ends_removes_its_folder(owner: Owner):
    process, folder = owner()
    process.communicate("\n")
    assert not folder.exists()


def test_links_and_folders_without_an_owner_of_ours_are_not_touched(owner: Owner, tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / OWNER).touch()
    (tmp_path / f"{PREFIX}abcdefgh").symlink_to(outside)
    users = tmp_path / f"{PREFIX}ijklmnop"
    users.mkdir()
    (users / "letter.txt").touch()
    linked = tmp_path / f"{PREFIX}qrstuvwx"
    linked.mkdir()
    (linked / OWNER).symlink_to(outside / OWNER)
    named = tmp_path / f"{PREFIX}my-own-folder"
    named.mkdir()
    (named / OWNER).touch()
    before = sorted(tmp_path.rglob("*"))
    _, mine = owner()
    assert [path for path in sorted(tmp_path.rglob("*")) if mine not in (path, *path.parents)] == before


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make another user's folder")
def test_folders_of_other_users_are_not_touched(owner: Owner, tmp_path: Path):
    theirs = tmp_path / f"{PREFIX}abcdefgh"
    theirs.mkdir()
    (theirs / OWNER).touch()
    os.chown(theirs, 65534, 65534)
    owner()
    assert (theirs / OWNER).exists()


SOCKETS = """
import os
from imagemill.data.storage.scratch import scratch_folder, socket_folder
print(scratch_folder(), socket_folder(), sep="\\n")
"""


def test_a_long_tmpdir_keeps_its_files_but_sockets_go_where_their_path_fits(tmp_path: Path):
    long = tmp_path / ("x" * 100)
    long.mkdir()
    environment = {**os.environ, "TMPDIR": str(long)}
    done = subprocess.run([sys.executable, "-c", SOCKETS], env=environment, capture_output=True, text=True, check=True)
    files, sockets = done.stdout.splitlines()
    assert Path(files).parent == long
    assert len(sockets) + len("/listener-01234567") <= MAX_SOCKET_BYTES


FULL = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
from imagemill.data.errors import ImagemillError
from imagemill.data.storage.scratch import scratch_folder
try:
    scratch_folder()
except ImagemillError as error:
    print(error, end="")
"""


def test_where_no_temporary_file_can_be_written_the_error_is_one_sentence_that_names_tmpdir(tmp_path: Path):
    environment = {**os.environ, "TMPDIR": str(tmp_path / "none")}
    done = subprocess.run(
        [sys.executable, "-c", FULL], env=environment, stdout=subprocess.PIPE, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == (
        f"no folder for temporary files can be written (TMPDIR is {str(tmp_path / 'none')[:80]!r}): free disk space, "
        "or set TMPDIR to a folder that can be written."
    )
