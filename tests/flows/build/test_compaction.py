"""Compaction: small files are merged while a build runs, not after its last image."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

import pyarrow.parquet as pq
import pytest

from imagemill.data.dataset.files.compaction import Merger
from imagemill.data.dataset.files.shard_files import CommittedFile
from imagemill.data.verify.integrity import verify_files
from imagemill.models.drawing.measure_registry import measures_of
from tests.conftest import Build, write_prompts

TWELVE = [f"number {number}" for number in range(12)]


@pytest.fixture
def merged(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The numbers of the files that are merged, in groups; the tests choose the files' sizes."""
    groups: list[list[int]] = []
    monkeypatch.setattr(
        "imagemill.data.dataset.files.compaction._merge",
        lambda folder, group, area: groups.append([file.number for file in group]),
    )
    monkeypatch.setattr("imagemill.data.dataset.files.compaction.SMALL_BYTES", 100)
    monkeypatch.setattr("imagemill.data.dataset.files.compaction.FILE_BYTES", 500)
    return groups


def file(number: int, size: int = 90, split: str = "train") -> CommittedFile:
    return CommittedFile(f"{split}-{number:05d}-00000000.parquet", 1, size, "")


def test_neighbours_are_merged_once_they_make_a_whole_file_whatever_their_order(merged: list):
    merger = Merger(None, first=10)
    for number in (12, 10, 13, 15, 14, 11):
        merger.add(number, file(number))
    assert merged == [[10, 11, 12, 13, 14]]
    for number in range(16, 25):
        merger.add(number, file(number))
    assert merged == [[10, 11, 12, 13, 14], [15, 16, 17, 18, 19]]


def test_large_files_and_shards_without_a_file_are_skipped(merged: list):
    merger = Merger(None, first=0)
    for number, size in enumerate((90, 200, 90, None, 90, 150, 90, 90)):
        merger.add(number, size and file(number, size))
    assert merged == [[2, 4]]


def test_files_of_one_split_are_merged_among_themselves(merged: list):
    merger = Merger(None, first=0)
    for number in range(7):
        merger.add(number, file(number), file(number, 250, "test") if number == 2 else file(number, 10, "validation"))
    assert merged == [[0, 1, 2, 3, 4]]
    for number in range(7, 60):
        merger.add(number, file(number, 10, "validation"))
    assert merged[1:] == [[0, 1, *range(3, 51)]]


def test_each_file_is_merged_once_when_many_threads_finish_shards(merged: list):
    merger = Merger(None, first=0)
    threads = [
        Thread(target=lambda first=first: [merger.add(n, file(n)) for n in range(first, 400, 8)]) for first in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    merger.add(400, file(400))
    assert merged == [list(range(first, first + 5)) for first in range(0, 400, 5)]


def test_a_build_merges_while_it_generates_and_the_dataset_is_the_same(
    build: Build, fields: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_prompts(Path(fields["prompts"]), TWELVE)
    expected = build(fields)["fingerprint"]
    size = next((Path(fields["output"]) / "data").glob("*")).stat().st_size
    # About three shards of one row make a whole file; the last compaction is switched off.
    monkeypatch.setattr("imagemill.data.dataset.files.compaction.SMALL_BYTES", size // 6)
    monkeypatch.setattr("imagemill.data.dataset.files.compaction.FILE_BYTES", size // 3)
    monkeypatch.setattr("imagemill.tasks.publish.compact", lambda folder, area: None)
    other = tmp_path / "other"
    assert build({**fields, "output": str(other), "shard_size": 1})["fingerprint"] == expected
    files = sorted((other / "data").glob("*"))
    assert len(files) < len(TWELVE)
    rows = [row for path in files for row in pq.ParquetFile(path).read(["prompt"]).to_pylist()]
    assert [row["prompt"] for row in rows] == TWELVE
    assert verify_files(str(other), measures_of).good
    again = build({**fields, "output": str(other), "shard_size": 1})
    assert (again["generated"], again["kept"]) == (0, 12)
