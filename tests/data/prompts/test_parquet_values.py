"""What a Parquet file has beside JSON's values is read without loss, and one bad value costs one row."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

NOON = 12 * 3600 * 10**9


def write(path: Path, **columns: pa.Array) -> Path:
    count = len(next(iter(columns.values())))
    pq.write_table(pa.table({"prompt": [f"image {number}" for number in range(count)], **columns}), path)
    return path


def test_nanoseconds_of_a_time_are_read(load, tmp_path: Path):
    times = pa.array([NOON, NOON + 1, NOON + 1_500_000, None], pa.time64("ns"))
    write(tmp_path / "prompts.parquet", at=times)
    found = load(None, "prompts.parquet")
    assert [row.carried.get("at") for row in found.rows] == [
        "12:00:00",
        "12:00:00.000000001",
        "12:00:00.001500",
        None,
    ]
    assert found.loaded.carried == {"at": 'arrow:"time64[ns]"'}


def test_a_date_that_no_calendar_has_sets_its_row_aside(load, tmp_path: Path):
    write(tmp_path / "prompts.parquet", at=pa.array([0, 2**60, 1], pa.timestamp("us")))
    found = load(None, "prompts.parquet")
    assert len(found.rows) == 2
    assert found.reason.startswith("a value of this row cannot be read (")


def test_binary_columns_are_left_out_unless_the_recipe_names_them(load, tmp_path: Path):
    raw = pa.array([b"\x00\xff", None])
    write(tmp_path / "prompts.parquet", raw=raw, other=raw)
    assert load(None, "prompts.parquet").loaded.carried == {}
    found = load(None, "prompts.parquet", columns={"carry_binary": ["raw"]})
    assert found.loaded.carried == {"raw": 'arrow:"binary"'}
    assert [row.carried.get("raw") for row in found.rows] == ["AP8=", None]


def test_a_column_without_a_value_keeps_its_type(load, tmp_path: Path):
    write(tmp_path / "prompts.parquet", none=pa.array([None], pa.int16()), seed=pa.array([None], pa.int64()))
    assert load(None, "prompts.parquet").loaded.carried == {"none": 'arrow:"int16"'}


def test_files_of_one_folder_may_declare_different_types(load, tmp_path: Path):
    (tmp_path / "shards").mkdir()
    write(tmp_path / "shards" / "a.parquet", n=pa.array([1], pa.int8()), v=pa.array([0.5], pa.float32()))
    write(tmp_path / "shards" / "b.parquet", n=pa.array([2**40]), v=pa.array(["x"]))
    assert load(None, "shards").loaded.carried == {"n": "int", "v": "mixed"}
