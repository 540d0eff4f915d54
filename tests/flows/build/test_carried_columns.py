"""Carried columns are in the dataset as the prompts file has them, and stay so when rows are added."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imagemill.data.errors import RecipeError
from imagemill.data.verify.integrity import verify_files
from imagemill.models.drawing.measure_registry import measures_of
from tests.conftest import Build, write_prompts

FIRST: dict[str, Any] = {
    "count": 2**53 + 1,
    "score": 0.5,
    "note": "plain",
    "tags": ["a", "b"],
    "box": {"x": 1, "y": None},
    "yes": True,
    "limit": float("inf"),
    "empty": None,
}
ODD: dict[str, Any] = {
    "count": 0.25,
    "score": 2**53 + 1,
    "note": 7,
    "tags": "c",
    "box": {"x": 1},
    "yes": "no",
    "limit": [1],
}


@pytest.fixture
def fields(tmp_path: Path, model: Path) -> dict[str, Any]:
    """A recipe that generates one image a row."""
    small = {"model": str(model), "steps": 1, "width": 64, "height": 64}
    return {
        "name": "small",
        "prompts": str(tmp_path / "prompts.jsonl"),
        "output": str(tmp_path / "out"),
        "generate": small,
        "shard_size": 2,
    }


def table_of(fields: dict[str, Any], *names: str) -> pa.Table:
    """These columns of the whole dataset, by id; its files must have one schema."""
    tables = [pq.read_table(path) for path in sorted(Path(fields["output"]).glob("data/*.parquet"))]
    assert all(table.schema.equals(tables[0].schema) for table in tables)
    return pa.concat_tables(tables).sort_by("id").select(["id", *names])


def opened(fields: dict[str, Any], cache: Path) -> Any:
    import datasets

    datasets.disable_progress_bars()
    files = str(Path(fields["output"]) / "data" / "*.parquet")
    return datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(cache))


def test_columns_of_parquet_keep_their_types(build: Build, fields: dict, tmp_path: Path):
    given = pa.table(
        {
            "prompt": ["a fox", "a kite"],
            "id": ["1", "2"],
            "day": pa.array([date(2020, 2, 29), None]),
            "price": pa.array([Decimal("1.10"), None], pa.decimal128(5, 2)),
            "boxes": pa.array([[{"x": 1, "y": 0.1}], []], pa.list_(pa.struct([("x", pa.int8()), ("y", pa.float32())]))),
            "at": pa.array([1, None], pa.timestamp("ns", "Europe/Berlin")),
            "none": pa.array([None, None], pa.int16()),
            "raw": pa.array([b"\x00", b"\xff"]),
            "left_out": pa.array([b"\x00", b"\xff"]),
        }
    )
    pq.write_table(given, tmp_path / "prompts.parquet")
    fields |= {"prompts": str(tmp_path / "prompts.parquet"), "columns": {"carry_binary": ["raw"]}}
    build(fields)
    names = ["day", "price", "boxes", "at", "none", "raw"]
    assert table_of(fields, *names).drop("id").equals(given.select(names))
    assert "left_out" not in pq.read_schema(next(Path(fields["output"]).glob("data/*.parquet"))).names
    assert verify_files(fields["output"], measures_of).good
    assert opened(fields, tmp_path).features["at"].dtype == "timestamp[ns, tz=Europe/Berlin]"


def test_rows_that_are_added_change_no_value_and_no_type_of_those_before(build: Build, fields: dict, tmp_path: Path):
    rows = [{"prompt": "a fox", "id": "1", **FIRST}, {"prompt": "a kite", "id": "2", **FIRST}]
    write_prompts(Path(fields["prompts"]), rows)
    build(fields)
    before = table_of(fields, *FIRST)
    write_prompts(Path(fields["prompts"]), [*rows, {"prompt": "a ring", "id": "3", **ODD}])
    second = build(fields)
    assert (second["generated"], second["kept"], second["set_aside"]) == (1, 2, 0)
    after = table_of(fields, *FIRST)
    assert after.slice(0, 2).equals(before)
    assert json.loads(table_of(fields, "other_values")["other_values"][2].as_py()) == {
        name: value for name, value in ODD.items() if name != "note"
    }
    # A text column takes what is no text as JSON, and says so.
    assert after["note"].to_pylist() == ["plain", "plain", "7"]
    assert after.schema.field("note").metadata == {b"imagemill": b"text or JSON"}
    assert "- `note`: a text is itself, and any other value is its JSON text" in (
        Path(fields["output"]) / "README.md"
    ).read_text(encoding="utf-8")
    assert verify_files(fields["output"], measures_of).good
    assert len(opened(fields, tmp_path)) == 3
    assert build(fields)["generated"] == 0


def test_rows_that_stay_keep_a_column_that_the_prompts_no_longer_have(build: Build, fields: dict):
    write_prompts(Path(fields["prompts"]), [{"prompt": "a fox", "id": "1", "note": "n", "k\0": 5}])
    build(fields)
    write_prompts(Path(fields["prompts"]), [{"prompt": "a kite", "id": "2"}])
    assert build(fields, {"on_removed": "keep"})["generated"] == 1
    assert table_of(fields, "note", "k_").to_pydict() == {"id": ["1", "2"], "note": ["n", None], "k_": [5, None]}


def test_columns_get_new_types_if_the_recipe_asks_for_them_and_nothing_is_generated(build: Build, fields: dict):
    write_prompts(Path(fields["prompts"]), [{"prompt": "a fox", "id": "1", "score": 1, "k": "old"}])
    build(fields)
    write_prompts(Path(fields["prompts"]), [{"prompt": "a fox", "id": "1", "score": 0.5, "k": 2}])
    assert build(fields, {"columns.retype": True})["generated"] == 0
    assert table_of(fields, "score", "k").to_pydict() == {"id": ["1"], "score": [0.5], "k": [2]}
    assert build(fields)["kept"] == 1
    with pytest.raises(RecipeError, match=r"columns\.retype writes all rows again, and on_removed: keep keeps"):
        build(fields, {"columns.retype": True, "on_removed": "keep"})
