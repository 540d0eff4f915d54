"""Placing: rows move between data/ and rejected/ and between splits by rewriting files, and none is lost or doubled."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from imagemill.data.dataset.files.area import AreaName
from imagemill.data.dataset.files.outcomes import OutcomeColumn
from imagemill.data.dataset.files.placing import Placement, Settled, count_moves, settle, was_judged
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.manifest import fingerprint
from imagemill.data.dataset.parquet import write_rows
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.images.codec import Encoding

OUTCOMES = (
    OutcomeColumn("candidate", "int"),
    OutcomeColumn("split", "str"),
    OutcomeColumn("score_fits", "float32"),
)

Rows = list[dict[str, Any]]


@pytest.fixture
def judged(schema: DatasetSchema) -> DatasetSchema:
    return replace(schema, outcomes=OUTCOMES)


@pytest.fixture
def six(dataset_rows: Rows) -> Rows:
    """Six rows with different keys and images."""
    return [
        {**row, "id": f"row-{n}", "row_key": f"{n + 16:032x}", "image_key": f"{n:032x}", "sha256": f"{n:064x}"}
        for n, row in enumerate([*dataset_rows, *dataset_rows])
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "out")


def commit(folder: Folder, schema: DatasetSchema, rows: Rows, number: int, split="train", area: AreaName = "data"):
    scratch = folder.scratch("shard.parquet")
    return folder.commit(scratch, number, write_rows(scratch, schema, rows), split, area)


def place(
    row: Mapping[str, Any], score: float = 0.5, area: AreaName | None = "data", split: str = "train", **more: Any
):
    outcomes = {"candidate": row["variant"], "split": split, "score_fits": score, **more}
    return row["row_key"], Placement(area, split, outcomes)


def rule(*placed: tuple[str, Placement]) -> Callable[[Sequence[str]], Mapping[str, Placement]]:
    known = dict(placed)
    return lambda keys: {key: known[key] for key in keys if key in known}


def contents(folder: Folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder.root)): path.read_bytes() for path in sorted(folder.root.glob("*/*.parquet"))}


def rows_in(folder: Folder, area: AreaName = "data") -> dict[str, list[str]]:
    """File -> ids of its rows."""
    there = folder.area(area)
    return {file.name: pq.read_table(there.path / file.name)["id"].to_pylist() for file in there.committed()[0]}


def table(folder: Folder, area: AreaName = "data") -> Rows:
    there = folder.area(area)
    return [row for file in there.committed()[0] for row in pq.read_table(there.path / file.name).to_pylist()]


def test_files_whose_rows_are_in_place_with_their_outcomes_are_not_touched(folder, judged, six):
    commit(folder, judged, [{**row, "candidate": 0, "split": "train", "score_fits": 0.1234} for row in six[:3]], 0)
    commit(folder, judged, [{**row, "candidate": 0, "split": "train", "score_fits": None} for row in six[3:]], 1)
    placements = rule(*(place(row, 0.1234) for row in six[:3]), *(place(row, None) for row in six[3:]))
    before = contents(folder)
    assert settle(folder, judged, placements) == Settled()
    assert contents(folder) == before
    other = rule(*(place(row, 0.1234) for row in six[:3]), *(place(row, 0.9) for row in six[3:]))
    changed = settle(folder, judged, other)
    assert (changed.moved, changed.rewritten_bytes) == (0, len(list(before.values())[1]))
    assert [name for name in contents(folder) if name in before] == [next(iter(before))]
    assert [row["score_fits"] for row in table(folder)] == pytest.approx([0.1234] * 3 + [0.9] * 3)


def test_a_rejected_row_moves_with_its_image_and_comes_back_from_there(folder, judged, six):
    for number in range(2):
        half = six[3 * number : 3 * number + 3]
        commit(folder, judged, [{**row, "candidate": 0, "split": "train", "score_fits": 0.5} for row in half], number)
    first = fingerprint(folder.data / name for name in rows_in(folder))
    everything = rule(*map(place, six))
    fewer = rule(
        *(place(row, area="rejected", rejected_by="fits", rejected_at="generate") for row in six[1:3]),
        *map(place, [six[0], *six[3:]]),
    )
    expected = count_moves(folder, judged, fewer)
    assert settle(folder, judged, fewer) == expected
    assert (expected.moved, expected.removed) == (2, 0)
    assert list(rows_in(folder).values()) == [["row-0"], ["row-3", "row-4", "row-5"]]
    assert list(rows_in(folder, "rejected").values()) == [["row-1", "row-2"]]
    there = table(folder, "rejected")[0]
    assert there["image"] == six[1]["image"]
    assert (there["rejected_by"], there["rejected_at"], there["duplicate_of"]) == ("fits", "generate", None)
    assert settle(folder, judged, fewer) == Settled()
    assert settle(folder, judged, everything).moved == 2
    assert rows_in(folder, "rejected") == {}
    assert fingerprint(folder.data / name for name in rows_in(folder)) == first
    assert all(set(row) == set(judged.arrow().names) for row in table(folder))


def test_the_count_of_moves_writes_nothing(folder, judged, six):
    commit(folder, judged, six, 0)
    before = contents(folder)
    counted = count_moves(folder, judged, rule(*(place(row, area="rejected") for row in six)))
    assert counted == Settled(6, 0, len(next(iter(before.values()))))
    assert contents(folder) == before


def test_splits_get_files_of_their_own_and_a_changed_split_moves_rows_between_them(folder, judged, six):
    commit(folder, judged, six, 0)
    assert settle(folder, judged, rule(*map(place, six[:4]), *(place(row, split="test") for row in six[4:]))).moved == 2
    assert [name[:11] for name in rows_in(folder)] == ["test-00001-", "train-00000"]
    assert [row["split"] for row in table(folder)] == ["test"] * 2 + ["train"] * 4
    placements = rule(*(place(row, split="validation") for row in six[4:]), *map(place, six[:4]))
    assert settle(folder, judged, placements).moved == 2
    assert [name.split("-")[0] for name in rows_in(folder)] == ["train", "validation"]
    assert fingerprint(folder.data / name for name in rows_in(folder))


def test_a_row_that_is_there_twice_is_reduced_to_the_one_in_its_place(folder, judged, six):
    commit(folder, judged, six[:3], 0)
    commit(folder, judged.rejected(), six[1:4], 0, area="rejected")
    commit(folder, judged, six[:1], 1)
    placements = rule(place(six[0]), place(six[1], area="rejected"), place(six[2]), place(six[3], area="rejected"))
    settled = settle(folder, judged, placements)
    assert (settled.moved, settled.removed) == (0, 3)
    assert list(rows_in(folder).values()) == [["row-0", "row-2"]]
    assert list(rows_in(folder, "rejected").values()) == [["row-1", "row-3"]]


def test_rows_without_a_placement_stay_and_those_of_no_area_leave(folder, judged, six):
    own = {"candidate": 3, "split": "train", "score_fits": 0.25}
    commit(folder, judged, [{**row, **own} for row in six], 0)
    settled = settle(folder, judged, rule(place(six[0]), place(six[5], area=None)))
    assert (settled.moved, settled.removed) == (0, 1)
    found = table(folder)
    assert [row["id"] for row in found] == [f"row-{n}" for n in range(5)]
    assert [row["candidate"] for row in found] == [0, 3, 3, 3, 3]
    assert {row["row_key"] for row in found} == {row["row_key"] for row in six[:5]}
    assert settle(folder, judged, rule(*(place(row, area=None) for row in six))).removed == 5
    assert rows_in(folder) == {}


def test_a_plain_dataset_gets_the_columns_of_its_outcomes_and_loses_them_again_byte_for_byte(
    folder, schema, judged, six
):
    commit(folder, schema, six, 0)
    before = contents(folder)
    assert not was_judged(folder)
    settle(folder, judged, rule(*map(place, six)))
    assert was_judged(folder)
    assert [row["candidate"] for row in table(folder)] == [0] * 6
    settle(folder, schema, rule(*map(place, six)))
    assert contents(folder) == before


def test_a_carried_column_with_the_name_of_an_outcome_is_renamed_in_the_files_and_keeps_its_values(folder, six):
    plain = DatasetSchema(False, False, Encoding("png"), {"split": "str", "note": "str"}, names={"split": "split"})
    judged = replace(plain, outcomes=OUTCOMES)
    assert judged.digest() == plain.digest()
    commit(folder, plain, [{**row, "split": f"own {n}"} for n, row in enumerate(six)], 0)
    before = contents(folder)
    settle(folder, judged, rule(*map(place, six[:3]), *(place(row, area="rejected", split="test") for row in six[3:])))
    rows = [*table(folder), *table(folder, "rejected")]
    assert [row["source_split"] for row in rows] == [f"own {n}" for n in range(6)]
    assert [row["split"] for row in rows] == ["train"] * 3 + ["test"] * 3
    settle(folder, plain, rule(*map(place, six)))
    assert {row["split"] for row in table(folder)} == {f"own {n}" for n in range(6)}
    assert len(before) == 1


def test_rejected_rows_may_lose_their_images_and_then_stay_where_they_are(folder, judged, six):
    commit(folder, judged, six[:3], 0)
    commit(folder, judged.rejected(), six[3:], 0, area="rejected")
    out = rule(*(place(row, area="rejected", rejected_by="fits") for row in six))
    assert settle(folder, judged, out, "scores").moved == 3
    assert [row["image"] for row in table(folder, "rejected")] == [None] * 6
    assert settle(folder, judged, out, "scores") == Settled()
    # Without its image none can be part of the dataset; the reason stays with it.
    assert settle(folder, judged, rule(*map(place, six)), "scores") == Settled()
    assert {row["rejected_by"] for row in table(folder, "rejected")} == {"fits"}


def test_a_row_that_was_generated_again_replaces_the_one_without_an_image(folder, judged, six):
    commit(folder, judged.rejected(), [{**row, "image": None} for row in six[:2]], 0, area="rejected")
    commit(folder, judged, six[:1], 1)
    settled = settle(folder, judged, rule(place(six[0]), place(six[1], area="rejected")), "scores")
    assert (settled.moved, settled.removed) == (0, 1)
    assert [row["image"] for row in table(folder)] == [six[0]["image"]]
    assert list(rows_in(folder, "rejected").values()) == [["row-1"]]


def test_nothing_is_kept_in_rejected_where_the_recipe_drops_it(folder, judged, six):
    commit(folder, judged, six[:3], 0)
    commit(folder, judged.rejected(), six[3:], 0, area="rejected")
    out = rule(place(six[0]), *(place(row, area="rejected") for row in six[1:]))
    assert settle(folder, judged, out, "drop").removed == 5
    assert (list(rows_in(folder).values()), rows_in(folder, "rejected")) == ([["row-0"]], {})


def test_images_of_two_encodings_do_not_meet_in_one_file(folder, schema, judged, six):
    commit(folder, schema, six[:3], 0)
    commit(folder, replace(schema, encoding=Encoding("jpeg", 90)), six[3:], 1)
    settle(folder, judged, rule(*(place(row, area="rejected") for row in six)))
    files = list(rows_in(folder, "rejected"))
    metadata = [pq.read_schema(folder.area("rejected").path / name).metadata[b"imagemill"] for name in files]
    assert [json.loads(text)["image_format"] for text in metadata] == ["png", "jpeg"]


def test_rows_are_asked_for_in_bounded_groups(folder, judged, six, monkeypatch):
    monkeypatch.setattr("imagemill.data.dataset.files.row_places.CHUNK", 2)
    commit(folder, judged, six, 0)
    asked: list[int] = []
    known = rule(*(place(row, area="rejected" if n % 2 else "data") for n, row in enumerate(six)))

    def placements(keys: Sequence[str]) -> Mapping[str, Placement]:
        asked.append(len(keys))
        return known(keys)

    assert settle(folder, judged, placements).moved == 3
    assert max(asked) <= 2
    assert list(rows_in(folder, "rejected").values()) == [["row-1", "row-3", "row-5"]]


def test_moved_rows_fill_one_file_after_the_other(folder, judged, six, monkeypatch):
    monkeypatch.setattr("imagemill.data.dataset.files.collecting.FILE_BYTES", 1)
    for number in range(3):
        commit(folder, judged, six[2 * number : 2 * number + 2], number)
    settle(folder, judged, rule(*(place(row, area="rejected") for row in six)))
    assert list(rows_in(folder, "rejected").values()) == [["row-0", "row-1"], ["row-2", "row-3"], ["row-4", "row-5"]]
