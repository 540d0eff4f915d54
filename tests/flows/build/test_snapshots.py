"""Bytes never change under a file's name, and a snapshot stays as it is while builds replace files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagemill.data.dataset.files.area import DATA, AreaName
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.reader import read_rows
from imagemill.data.export.snapshot import snapshot
from imagemill.data.storage.locations import hash_file
from imagemill.data.verify.integrity import verify_files
from imagemill.models.drawing.measure_registry import measures_of
from tests.conftest import Build, write_prompts

EIGHT = [f"number {number}" for number in range(8)]


def data_files(output: str) -> dict[str, str]:
    return {path.name: hash_file(path) for path in (Path(output) / "data").iterdir()}


def epoch(folder: Path) -> list[dict[str, Any]]:
    return [row for path in sorted((folder / "data").iterdir()) for row in read_rows(path)]


def test_a_reader_of_a_snapshot_reads_the_same_rows_while_builds_replace_files(
    build: Build, fields: dict, tmp_path: Path
):
    output, seen = fields["output"], {}
    fields |= {"shard_size": 2}
    write_prompts(Path(fields["prompts"]), EIGHT)
    build(fields)
    seen |= data_files(output)
    snapshot(output, tmp_path / "taken")
    first = epoch(tmp_path / "taken")
    grown, smaller = [*EIGHT, "a new one"], [*EIGHT[::2], "a new one"]
    for prompts, changes in ((grown, {}), (smaller, {}), (smaller, {"on_removed": "keep", "checks.blank": False})):
        write_prompts(Path(fields["prompts"]), prompts)
        build(fields, changes)
        files = data_files(output)
        assert {name: seen.get(name, sha256) for name, sha256 in files.items()} == files
        seen |= files
        assert epoch(tmp_path / "taken") == first
    build(fields, {"image_format": "jpeg"})
    assert seen.keys().isdisjoint(data_files(output))
    assert epoch(tmp_path / "taken") == first
    assert len(first) == len(EIGHT)
    assert verify_files(str(tmp_path / "taken"), measures_of).good


def test_a_snapshot_can_be_taken_while_a_build_replaces_files(
    build: Build, fields: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from imagemill.tasks import publish

    write_prompts(Path(fields["prompts"]), EIGHT)
    build(fields)
    before = epoch(Path(fields["output"]))
    compact = publish.compact

    def take_a_snapshot(folder: Folder, area: AreaName) -> None:
        compact(folder, area)
        if area == DATA:
            snapshot(fields["output"], tmp_path / "taken")

    monkeypatch.setattr(publish, "compact", take_a_snapshot)
    write_prompts(Path(fields["prompts"]), EIGHT[:3])
    build(fields)
    assert epoch(tmp_path / "taken") == before
    assert len(epoch(Path(fields["output"]))) == 3
    assert not (Path(fields["output"]) / ".imagemill" / "replaced").exists()
