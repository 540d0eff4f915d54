"""A killed build leaves no process and no semaphore; the next command removes its temporary files."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from imagemill.data.storage.scratch import OWNER, PREFIX
from tests.conftest import command_of, small_fields, wait_until
from tests.tasks.running_build import RunningBuild


def processes_of(build: RunningBuild) -> list[psutil.Process]:
    """The build and what its cluster consists of: not Prefect's server."""
    top = psutil.Process(build.process.pid)
    started = top.children(recursive=True)
    return [top, *(process for process in started if "multiprocessing" in " ".join(command_of(process)))]


def semaphores_of(process: psutil.Process) -> list[str]:
    maps = Path(f"/proc/{process.pid}/maps").read_text()
    return [line for line in maps.splitlines() if "/dev/shm/sem." in line]


@pytest.fixture
def long_tmpdir(tmp_path: Path) -> Path:
    """A folder with a path that is too long for a socket in it."""
    return tmp_path / "a folder whose path leaves no room for the name of a socket, at a hundred and eight bytes"


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("group", [False, True], ids=["the build alone", "its process group"])
def test_what_a_killed_build_leaves_ends_by_itself_or_is_removed_by_the_next_command(
    group: bool, model: Path, empty_home: Path, tmp_path: Path, long_tmpdir: Path
):
    build = RunningBuild(tmp_path, small_fields(tmp_path, model), empty_home, long_tmpdir)
    started = processes_of(build)
    # The build, the fork server, Python's resource tracker, and the workers.
    assert len(started) == 5
    assert [found for process in started for found in semaphores_of(process)] == []
    sockets = [path for path in Path("/tmp").glob(f"{PREFIX}*") if is_owned_by(path, build.process.pid)]
    build.kill(group)
    wait_until(lambda: not any(process.is_running() for process in started), "the end of its processes")
    assert len(sockets) == 1
    (left,) = build.leftovers()
    assert left.startswith(PREFIX)
    plan = [sys.executable, "-m", "imagemill", "plan", str(tmp_path / "recipe.yaml")]
    environment = {**os.environ, "TMPDIR": str(long_tmpdir)}
    done = subprocess.run(plan, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert build.leftovers() == []
    assert not sockets[0].exists()


def is_owned_by(folder: Path, process: int) -> bool:
    """Whether the process has the folder's lock file open."""
    with suppress(FileNotFoundError):
        return any(os.path.realpath(file) == str(folder / OWNER) for file in Path(f"/proc/{process}/fd").iterdir())
    return False
