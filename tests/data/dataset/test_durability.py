"""What survives a power cut or a kill: content is on disk before its name, a journal line before the file it names."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.parquet import merge_files, read_schema, write_rows
from imagemill.data.storage.jsonl import append_line, read_lines
from tests.conftest import ROOT

NAME = "shard.parquet"

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs the paths of open files")


class Disk:
    """Records the order in which files reach the disk and get their names, while both really happen."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[tuple[str, Path]] = []
        self.journal: Path | None = None
        self.journalled: list[str] = []
        """The names in the journal when the last file got its name."""
        fsync, replace = os.fsync, os.replace

        def sync(descriptor: int) -> None:
            fsync(descriptor)
            self.events.append(("sync", Path(f"/proc/self/fd/{descriptor}").readlink()))

        def rename(source: Any, target: Any) -> None:
            if self.journal is not None:
                self.journalled = [line["name"] for line in read_lines(self.journal)]
            replace(source, target)
            self.events += [("rename", Path(source)), ("name", Path(target))]

        monkeypatch.setattr(os, "fsync", sync)
        monkeypatch.setattr(os, "replace", rename)

    def place(self, event: str, path: Path) -> int:
        """The place of the event among all; fails the test if there is none."""
        assert (event, path) in self.events, f"{event} {path} is not in {self.events}"
        return self.events.index((event, path))

    def assert_durable(self, temporary: Path, target: Path) -> None:
        """Content, then name, then the folder with the name."""
        order = [self.place("sync", temporary), self.place("rename", temporary), self.place("sync", target.parent)]
        assert order == sorted(order), self.events
        assert self.place("name", target) == order[1] + 1


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_a_written_file_is_on_disk_before_it_gets_its_name(disk: Disk, tmp_path: Path):
    folder = Folder(tmp_path / "out")
    folder.write(folder.card, b"card")
    disk.assert_durable(folder.tmp / f"README.md.{os.getpid()}", folder.card)


def test_a_line_is_on_disk_when_it_is_appended(disk: Disk, tmp_path: Path):
    append_line(tmp_path / "runs.jsonl", {"generated": 1})
    assert disk.events == [("sync", tmp_path / "runs.jsonl")]


def test_a_data_file_and_its_line_in_the_journal_are_on_disk_before_it_gets_its_name(
    disk: Disk, tmp_path: Path, schema, dataset_rows
):
    folder = Folder(tmp_path / "out")
    disk.journal = folder.journal.path
    temporary = folder.scratch(NAME)
    file = folder.commit(temporary, 0, write_rows(temporary, schema, dataset_rows))
    disk.assert_durable(temporary, folder.data / file.name)
    assert disk.place("sync", folder.journal.path) < disk.place("rename", temporary)
    assert disk.journalled == [file.name]


def test_a_merged_file_is_on_disk_before_it_gets_its_name(disk: Disk, tmp_path: Path, schema, dataset_rows):
    folder = Folder(tmp_path / "out")
    first = folder.commit(folder.scratch(NAME), 0, write_rows(folder.scratch(NAME), schema, dataset_rows))
    source, scratch = folder.data / first.name, folder.scratch("merged.parquet")
    disk.events.clear()
    merged = folder.commit(scratch, 0, merge_files([source], scratch, read_schema(source)))
    disk.assert_durable(scratch, folder.data / merged.name)


CUT_SHORT = """
import resource, signal, sys
from imagemill.data.dataset.folder import Folder
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
folder = Folder(sys.argv[1])
folder.write(folder.card, b"new" * 10_000)
"""


def test_a_process_that_dies_while_it_writes_leaves_what_was_there(tmp_path: Path):
    folder = Folder(tmp_path / "out")
    folder.write(folder.card, b"old")
    # The system kills it in the middle of the write.
    done = subprocess.run([sys.executable, "-c", CUT_SHORT, str(folder.root)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGXFSZ
    assert folder.card.read_bytes() == b"old"
