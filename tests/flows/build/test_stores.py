"""Datasets in Amazon's and Google's object stores alike, with the real clients and an emulator each."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pyarrow.parquet as pq
import pytest
from gcp_storage_emulator.server import Server

from imagemill.data.dataset.folder import Folder
from imagemill.data.errors import FolderInUse, NotAnImagemillDataset
from imagemill.data.storage.locations import locate
from imagemill.data.verify.diff import compare
from imagemill.data.verify.integrity import verify_files
from imagemill.models.drawing.measure_registry import measures_of
from tests.commands import only_file
from tests.conftest import Build, free_port, write_prompts
from tests.flows.google_store import make_bucket, start_store


@pytest.fixture(scope="module")
def google_store() -> Iterator[Server]:
    """The store, which this process's clients use as Google's, without credentials."""
    port = free_port()
    settings = {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}", "NO_GCE_CHECK": "true"}
    running = start_store(port)
    os.environ |= settings
    yield running
    for name in settings:
        del os.environ[name]
    running.stop()


@pytest.fixture(params=["s3", "gs"])
def remote(
    request: pytest.FixtureRequest, fields: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """The fields of a recipe whose output is in a new bucket."""
    if request.param == "s3":
        bucket = request.getfixturevalue("bucket")
    else:
        monkeypatch.setenv("IMAGEMILL_WORK", str(tmp_path / "work"))
        bucket = f"bucket-{uuid4()}"
        make_bucket(request.getfixturevalue("google_store"), bucket)
    return {**fields, "output": f"{request.param}://{bucket}/sets/small"}


def names(remote: dict) -> list[str]:
    """The objects of the dataset, as the store's own listing has them."""
    files, root = fsspec.url_to_fs(remote["output"], use_listings_cache=False)
    return sorted(name.removeprefix(f"{root}/") for name in files.find(root))


def rows_of(remote: dict) -> list[dict[str, Any]]:
    files, root = fsspec.url_to_fs(remote["output"], use_listings_cache=False)
    rows = []
    for path in files.glob(f"{root}/data/*.parquet"):
        with files.open(path) as file:
            rows += pq.read_table(file).to_pylist()
    return rows


def test_a_build_in_a_store_equals_one_in_a_folder_and_generates_once(
    build: Build, fields: dict, remote: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    local, first = build(fields), build(remote)
    assert (first["generated"], first["fingerprint"]) == (8, local["fingerprint"])
    assert compare(fields["output"], remote["output"]).equal
    assert verify_files(remote["output"], measures_of).good
    merged = f"data/{only_file(Path(fields['output'])).name}"
    dataset = [merged, "README.md", "contact_sheet.jpg", "manifest.json", "runs.jsonl"]
    assert names(remote) == sorted([".imagemill/files.jsonl", ".imagemill/folder.json", *dataset])
    assert {path.name for path in (tmp_path / "work").glob("*/*")} - {"paths.json"} == {"files.jsonl"}

    second = build(remote)
    assert (second["generated"], second["model_loads"], second["kept"]) == (0, 0, 4)
    assert second["fingerprint"] == local["fingerprint"]

    # From here on another machine, without the first one's work files.
    monkeypatch.setenv("IMAGEMILL_WORK", str(tmp_path / "another machine"))
    write_prompts(Path(fields["prompts"]), ["a new one", "a fox", "a kite", "a ring"])
    grown = build(remote)
    assert (grown["generated"], grown["kept"], grown["removed"], grown["rows"]) == (2, 3, 1, 4)
    assert grown["fingerprint"] == build(fields)["fingerprint"]
    assert sorted(row["prompt"] for row in rows_of(remote)) == ["a fox", "a kite", "a new one", "a ring"]
    runs = Folder(remote["output"]).runs.read_bytes().splitlines()
    assert [json.loads(run)["generated"] for run in runs] == [8, 0, 2]


def test_only_the_first_of_two_creates_a_lock(remote: dict):
    lock = locate(remote["output"]) / ".imagemill" / "lock"
    lock.create(b"mine")
    with pytest.raises(FileExistsError):
        lock.create(b"theirs")
    assert lock.read_bytes() == b"mine"


def test_a_concurrent_build_is_refused_with_the_holder_named(build: Build, remote: dict):
    with Folder(remote["output"]).lock("small"), pytest.raises(FolderInUse, match=rf"process {os.getpid()} on"):
        build(remote)
    assert build(remote)["generated"] == 8


def test_a_foreign_prefix_is_refused_untouched(build: Build, remote: dict):
    (locate(remote["output"]) / "beach.jpg").write_bytes(b"x")
    with pytest.raises(NotAnImagemillDataset, match="nothing in it was touched"):
        build(remote)
    assert names(remote) == ["beach.jpg"]


@pytest.mark.parametrize("damage", ["corrupted", "deleted"])
def test_only_the_rows_of_a_damaged_object_are_rebuilt(
    build: Build, remote: dict, damage: str, monkeypatch: pytest.MonkeyPatch
):
    # Small files are not merged here, so that one of two is damaged.
    monkeypatch.setattr("imagemill.data.dataset.files.compaction.SMALL_BYTES", 0)
    expected = build(remote)["fingerprint"]
    files, root = fsspec.url_to_fs(remote["output"])
    (damaged,) = files.glob(f"{root}/data/train-00001-*.parquet")
    if damage == "deleted":
        files.rm(damaged)
    else:
        content = bytearray(files.cat_file(damaged))
        content[len(content) // 2] ^= 1
        files.pipe_file(damaged, bytes(content))
    assert verify_files(remote["output"], measures_of).good is False
    figures = build(remote)
    assert (figures["generated"], figures["kept"], figures["fingerprint"]) == (4, 2, expected)
    assert verify_files(remote["output"], measures_of).good
