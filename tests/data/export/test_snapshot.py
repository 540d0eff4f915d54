"""A snapshot has the files of one manifest, and never changes."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from imagemill.data.dataset.files.compaction import remove_rows
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.reader import find_finished, read_rows
from imagemill.data.errors import NotAnImagemillDataset, OutputError
from imagemill.data.export.snapshot import snapshot
from tests.data.export.test_export import contents, finished


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A finished dataset of three data files."""
    return finished(tmp_path / "out", edits=False)


def prompts(folder: Path) -> list[str]:
    _, manifest = find_finished(folder)
    return [
        row["prompt"] for file in manifest["files"] for row in read_rows(folder / "data" / file["name"], ["prompt"])
    ]


def test_a_snapshot_links_the_manifests_files_and_takes_no_other(output: Path, tmp_path: Path):
    names = sorted(path.name for path in (output / "data").iterdir())
    (output / "data" / "train-00009-00000000.parquet").write_bytes(b"of a build that runs")
    done = snapshot(output, tmp_path / "taken")
    assert (done["rows"], done["files"], done["linked"], done["written"]) == (6, 3, 3, True)
    assert sorted(path.name for path in (tmp_path / "taken" / "data").iterdir()) == names
    assert all((tmp_path / "taken" / "data" / name).samefile(output / "data" / name) for name in names)


def test_a_file_system_without_links_gets_copies(output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", refuse)
    done = snapshot(output, tmp_path / "taken")
    assert (done["linked"], prompts(tmp_path / "taken")) == (0, prompts(output))


def test_a_snapshot_is_taken_once_and_a_changed_dataset_needs_another_folder(output: Path, tmp_path: Path):
    snapshot(output, tmp_path / "taken")
    before = contents(tmp_path / "taken")
    assert snapshot(output, tmp_path / "taken")["written"] is False
    manifest = json.loads((output / "manifest.json").read_text())
    (output / "manifest.json").write_text(json.dumps({**manifest, "files": manifest["files"][:2], "rows": 4}))
    with pytest.raises(NotAnImagemillDataset, match="an earlier snapshot"):
        snapshot(output, tmp_path / "taken")
    assert contents(tmp_path / "taken") == before


def test_a_folder_with_other_files_is_refused_untouched(output: Path, tmp_path: Path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "beach.jpg").write_bytes(b"x")
    with pytest.raises(NotAnImagemillDataset, match="is not a snapshot"):
        snapshot(output, tmp_path / "mine")
    assert list(contents(tmp_path / "mine")) == ["beach.jpg"]


def test_files_that_a_build_has_replaced_already_are_taken_as_the_manifest_lists_them(output: Path, tmp_path: Path):
    folder, before = Folder(output), prompts(output)
    first = find_finished(output)[1]["files"][0]["name"]
    keys = [row["row_key"] for row in read_rows(folder.data / first, ["row_key"])]
    remove_rows(folder, {first: set(keys[:1])})
    assert not (folder.data / first).exists()
    snapshot(output, tmp_path / "taken")
    assert prompts(tmp_path / "taken") == before


def test_a_missing_file_is_named_and_nothing_is_left(output: Path, tmp_path: Path):
    name = find_finished(output)[1]["files"][1]["name"]
    (output / "data" / name).unlink()
    with pytest.raises(OutputError, match=rf"{name}.* is missing\. A build replaces files when it ends"):
        snapshot(output, tmp_path / "taken")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_no_build_goes_on_in_a_snapshot(output: Path, tmp_path: Path):
    snapshot(output, tmp_path / "taken")
    with pytest.raises(NotAnImagemillDataset, match="is a snapshot, which never changes"):
        Folder(tmp_path / "taken").check_owner("small")
