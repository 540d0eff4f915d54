"""Files of pairs hold both images and how they came about, and are written again only when their pairs change."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imagemill.data.config.judging.pairs import Pairs
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.parquet import write_rows
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.errors import BuildFailed
from imagemill.data.scores import pair_files
from imagemill.data.scores.pair_files import write_pairs
from imagemill.data.scores.pairs import Pair, PairCandidate, make_pairs
from imagemill.data.storage.locations import hash_file


def commit(folder: Folder, schema: DatasetSchema, rows: list[dict[str, Any]], number: int, area: Any = "data") -> None:
    scratch = folder.scratch("shard.parquet")
    folder.commit(scratch, number, write_rows(scratch, schema, rows), area=area)


@pytest.fixture
def folder(tmp_path: Path, schema: DatasetSchema, dataset_rows: list[dict[str, Any]]) -> Iterator[Folder]:
    """A dataset with two rows in data/ and one in rejected/."""
    folder = Folder(tmp_path / "out")
    with folder.lock("night"):
        commit(folder, schema, dataset_rows[:2], 0)
        commit(folder, schema, dataset_rows[2:], 0, area="rejected")
        yield folder


@pytest.fixture
def pairs(dataset_rows: list[dict[str, Any]]) -> list[Pair]:
    row = [
        PairCandidate(fields["image_key"], number, score, True, fields["row_key"])
        for number, (fields, score) in enumerate(zip(dataset_rows, (0.9, 0.5, 0.1)))
    ]
    return make_pairs(row, Pairs(by="looks", most=3))


def read(folder: Folder) -> list[dict[str, Any]]:
    return [row for path in sorted((folder.root / "pairs").iterdir()) for row in pq.read_table(path).to_pylist()]


def test_a_pair_has_both_images_and_their_provenance(
    folder: Folder, schema: DatasetSchema, pairs: list[Pair], dataset_rows: list[dict[str, Any]]
) -> None:
    (file,) = write_pairs(folder, schema, pairs)
    rows = read(folder)
    assert [(row["label_0"], row["label_1"]) for row in rows] == [(pair.label_0, 1 - pair.label_0) for pair in pairs]
    for row, pair in zip(rows, pairs, strict=True):
        for side, one in enumerate(pair.sides):
            origin = dataset_rows[one.number]
            assert row[f"image_{side}"]["bytes"] == origin["image"]["bytes"]
            assert row[f"image_key_{side}"] == origin["image_key"] == one.key
            assert (row[f"model_{side}"], row[f"seed_{side}"]) == (origin["model"], origin["seed"])
            assert row[f"score_{side}"] == pytest.approx(one.score)
        assert row["prompt"] == dataset_rows[pair.sides[0].number]["prompt"]
    path = folder.root / "pairs" / file.name
    assert (file.rows, file.bytes, file.sha256) == (3, path.stat().st_size, hash_file(path))


@pytest.mark.slow
def test_pairs_open_with_images_in_datasets(folder: Folder, schema: DatasetSchema, pairs: list[Pair]) -> None:
    from datasets import Image, load_dataset

    write_pairs(folder, schema, pairs)
    files = str(folder.root / "pairs" / "*.parquet")
    dataset = load_dataset("parquet", data_files=files, split="train", cache_dir=str(folder.root.parent / "cache"))
    assert dataset.features["image_0"] == dataset.features["image_1"] == Image()
    assert dataset[0]["image_1"].size == (8, 6)


def test_pairs_that_are_the_same_are_not_written_again_and_no_image_is_read(
    folder: Folder, schema: DatasetSchema, pairs: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = write_pairs(folder, schema, pairs)
    monkeypatch.setattr(pair_files, "read_image_rows", lambda *args: pytest.fail("an image was read"))
    assert write_pairs(folder, schema, pairs) == before


def test_rows_that_move_to_another_file_change_no_pair(
    folder: Folder, schema: DatasetSchema, pairs: list[Pair], dataset_rows: list[dict[str, Any]]
) -> None:
    before = write_pairs(folder, schema, pairs)
    for area in folder.areas:
        for file in area.committed()[0]:
            area.remove(file.name)
    commit(folder, schema, dataset_rows[::-1], 3)
    assert write_pairs(folder, schema, pairs) == before


def test_other_pairs_replace_the_file(folder: Folder, schema: DatasetSchema, pairs: list[Pair]) -> None:
    before = write_pairs(folder, schema, pairs)
    after = write_pairs(folder, schema, pairs[:1])
    assert after != before
    assert [path.name for path in (folder.root / "pairs").iterdir()] == [after[0].name]
    other = [pairs[0]._replace(better=replace(pairs[0].better, score=0.95))]
    assert write_pairs(folder, schema, other) != after


def test_without_pairs_no_file_stays(folder: Folder, schema: DatasetSchema, pairs: list[Pair]) -> None:
    write_pairs(folder, schema, pairs)
    (folder.root / "pairs" / "notes.txt").write_text("mine")
    assert write_pairs(folder, schema, []) == []
    assert [path.name for path in (folder.root / "pairs").iterdir()] == ["notes.txt"]


def test_many_pairs_are_spread_over_files_and_unchanged_ones_stay(
    folder: Folder, schema: DatasetSchema, pairs: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair_files, "_pairs_a_group", lambda places: 2)
    many = pairs * 7
    before = write_pairs(folder, schema, many)
    assert [file.rows for file in before] == [8, 8, 5]
    assert [row["image_key_0"] for row in read(folder)] == [pair.sides[0].key for pair in many]
    after = write_pairs(folder, schema, [*many, pairs[0]])
    assert (after[:2], after[2].rows) == (before[:2], 6)


def test_a_damaged_file_is_written_again(folder: Folder, schema: DatasetSchema, pairs: list[Pair]) -> None:
    before = write_pairs(folder, schema, pairs)
    (folder.root / "pairs" / before[0].name).write_bytes(b"PAR1")
    assert write_pairs(folder, schema, pairs) == before
    assert len(read(folder)) == 3


def test_an_image_that_is_not_there_is_one_clear_error(
    folder: Folder, schema: DatasetSchema, pairs: list[Pair]
) -> None:
    shutil.rmtree(folder.root / "rejected")
    with pytest.raises(BuildFailed, match="neither in data/ nor in rejected/: set rejected to keep"):
        write_pairs(folder, schema, pairs)


def test_pairs_of_edits_have_the_source_and_the_instruction(
    tmp_path: Path, schema: DatasetSchema, dataset_rows: list[dict[str, Any]]
) -> None:
    chained = replace(schema, chained=True, edits=True)
    rows = []
    for number, fields in enumerate(dataset_rows):
        image = fields.pop("image")
        edit = {"edited_image": image, "input_image": dataset_rows[0].get("input_image") or image, "edit_prompt": "red"}
        rows.append({**fields, **edit, "edit_seed": number, "edit_model": "editor", "edit_batch_size": 1})
    folder = Folder(tmp_path / "edits")
    with folder.lock("night"):
        commit(folder, chained, rows, 0)
        candidates = [
            PairCandidate(row["image_key"], number, float(number), True, row["row_key"])
            for number, row in enumerate(rows)
        ]
        found = make_pairs(candidates, Pairs(by="looks"))
        write_pairs(folder, chained, found)
    (row,) = read(folder)
    first = found[0].sides[0].number
    assert row["input_image"]["bytes"] == rows[first]["input_image"]["bytes"]
    assert (row["edit_prompt"], row["seed_0"], row["model_0"]) == ("red", first, "editor")
    assert pq.read_schema(next((folder.root / "pairs").iterdir())).field("seed_0").type == pa.int64()
