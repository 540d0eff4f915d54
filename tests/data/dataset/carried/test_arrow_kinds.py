"""A column of any type that Parquet has comes back in that type, value for value, and opens in `datasets`."""

from __future__ import annotations

import json
import random
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imagemill.data.dataset.arrow_table import table_of
from imagemill.data.dataset.carried.arrow_kinds import kind_of, storable_type, type_of
from imagemill.data.dataset.carried.features import card_feature, feature
from imagemill.data.dataset.carried.values import carried_value
from imagemill.data.plain_values import plain

KEPT: list[tuple[pa.DataType, list[Any]]] = [
    (pa.null(), [None]),
    (pa.bool_(), [True, False]),
    (pa.int8(), [-128, 127]),
    (pa.int64(), [2**53 + 1, -(2**63)]),
    (pa.uint16(), [65535]),
    (pa.uint64(), [2**64 - 1]),
    (pa.float16(), [0.5, float("nan")]),
    (pa.float32(), [0.1, float("-inf")]),
    (pa.float64(), [0.1, float("nan"), float("inf"), 5e-324]),
    (pa.string(), ["", "é 狐", "NaN"]),
    (pa.binary(), [b"", b"\x00\xff"]),
    (pa.binary(4), [b"abcd"]),
    (pa.date32(), [date(1, 1, 1), date(9999, 12, 31)]),
    (pa.time32("ms"), [time(23, 59, 59, 999_000)]),
    (pa.time64("us"), [time(0, 0, 0, 1)]),
    (pa.timestamp("us"), [datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999)]),
    (pa.timestamp("ms", "UTC"), [datetime(1901, 2, 3, tzinfo=UTC)]),
    # Before 1893 the clocks of Berlin were 53 minutes and 28 seconds ahead.
    (pa.timestamp("ns", "Europe/Berlin"), [-5_000_000_000_000_000_001, 1]),
    (pa.duration("us"), [timedelta(days=-1, microseconds=5), timedelta(seconds=3)]),
    (pa.duration("ns"), [-1, 10**18 + 1]),
    (pa.decimal128(10, 2), [Decimal("1.10"), Decimal("-99999999.99"), Decimal(0)]),
    (pa.decimal256(50, 3), [Decimal("12345678901234567890123.001")]),
    (pa.list_(pa.int32()), [[1, None], []]),
    (pa.list_(pa.list_(pa.string())), [[["a"], []], [None]]),
    (pa.large_list(pa.timestamp("us", "UTC")), [[datetime(1800, 1, 1, tzinfo=UTC)]]),
    (pa.list_(pa.float32(), 2), [[0.5, None]]),
    (pa.struct([("a", pa.int8()), ("b", pa.list_(pa.date32()))]), [{"a": 1, "b": [date(2020, 2, 29)]}]),
    (pa.list_(pa.struct([("x", pa.int32()), ("y", pa.float32())])), [[{"x": 1, "y": 0.25}, None]]),
]

CHANGED: list[tuple[pa.DataType, pa.DataType, Any, Any]] = [
    (pa.large_string(), pa.string(), "a", "a"),
    (pa.string_view(), pa.string(), "a", "a"),
    (pa.large_binary(), pa.binary(), b"a", b"a"),
    (pa.timestamp("s"), pa.timestamp("ms"), datetime(2020, 1, 1), datetime(2020, 1, 1)),
    (pa.date64(), pa.date32(), date(2020, 1, 1), date(2020, 1, 1)),
    (pa.decimal32(5, 2), pa.decimal128(5, 2), Decimal("1.10"), Decimal("1.10")),
    (pa.uuid(), pa.string(), UUID(int=7).bytes, str(UUID(int=7))),
    (
        pa.map_(pa.string(), pa.int64()),
        pa.list_(pa.struct([("key", pa.string()), ("value", pa.int64())])),
        [("a", 1)],
        [{"key": "a", "value": 1}],
    ),
    (
        pa.struct([pa.field("a", pa.large_string(), nullable=False)]),
        pa.struct([("a", pa.string())]),
        {"a": "x"},
        {"a": "x"},
    ),
]


def carry(given: pa.Array, path: Any) -> pa.ChunkedArray:
    """The array as a dataset's file gives it back."""
    arrow = storable_type(given.type)
    assert arrow is not None
    values = json.loads(json.dumps([plain(value) for value in given.to_pylist()], allow_nan=False))
    schema = pa.schema(
        [("column", type_of(kind_of(arrow)))],
        metadata={"huggingface": json.dumps({"info": {"features": {"column": feature(arrow)}}})},
    )
    table = table_of([{"column": carried_value(value, kind_of(arrow))} for value in values], schema)
    table.validate(full=True)
    pq.write_table(table, path)
    return pq.read_table(path)["column"]


def same(first: pa.ChunkedArray | pa.Array, second: pa.ChunkedArray | pa.Array) -> bool:
    # NaN is not equal to itself.
    return first.type == second.type and str(first.to_pylist()) == str(second.to_pylist())


@pytest.mark.parametrize(
    ("arrow", "values"), KEPT, ids=lambda value: str(value) if isinstance(value, pa.DataType) else ""
)
def test_a_column_of_parquet_comes_back_in_its_type(arrow: pa.DataType, values: list[Any], tmp_path):
    given = pa.array([*values, None, *values], arrow)
    assert same(carry(given, tmp_path / "a.parquet"), given)


@pytest.mark.parametrize(("given", "stored", "value", "back"), CHANGED, ids=str)
def test_a_type_that_datasets_or_parquet_lack_becomes_the_nearest(given, stored, value, back, tmp_path):
    array = pa.ExtensionArray.from_storage(given, pa.array([value], pa.binary(16))) if given == pa.uuid() else None
    found = carry(array if array is not None else pa.array([value], given), tmp_path / "a.parquet")
    assert (found.type, found.to_pylist()) == (stored, [back])


def test_a_dictionary_becomes_what_it_holds(tmp_path):
    found = carry(pa.array(["a", None, "a"]).dictionary_encode(), tmp_path / "a.parquet")
    assert (found.type, found.to_pylist()) == (pa.string(), ["a", None, "a"])


def random_type(rng: random.Random, depth: int = 3) -> pa.DataType:
    flat = [arrow for arrow, _ in KEPT if not pa.types.is_nested(arrow) and not pa.types.is_null(arrow)]
    match rng.randrange(4) if depth else 3:
        case 0:
            return pa.list_(random_type(rng, depth - 1))
        case 1:
            return pa.struct([(f"f{n}", random_type(rng, depth - 1)) for n in range(rng.randint(1, 3))])
        case 2:
            return pa.list_(random_type(rng, depth - 1), rng.randint(1, 3))
        case _:
            return rng.choice(flat)


def random_value(rng: random.Random, arrow: pa.DataType) -> Any:
    if rng.random() < 0.2:
        return None
    if pa.types.is_struct(arrow):
        return {field.name: random_value(rng, field.type) for field in arrow}
    if pa.types.is_fixed_size_list(arrow):
        return [random_value(rng, arrow.value_type) for _ in range(arrow.list_size)]
    if pa.types.is_list(arrow):
        return [random_value(rng, arrow.value_type) for _ in range(rng.randrange(4))]
    return rng.choice(next(values for kept, values in KEPT if kept == arrow))


@pytest.mark.parametrize("seed", range(60))
def test_columns_of_any_nesting_come_back_as_they_are(seed: int, tmp_path):
    rng = random.Random(seed)
    arrow = random_type(rng)
    given = pa.array([random_value(rng, arrow) for _ in range(20)], arrow)
    assert same(carry(given, tmp_path / "a.parquet"), given)


@pytest.mark.parametrize("arrow", [arrow for arrow, _ in KEPT], ids=str)
def test_datasets_opens_each_type_with_the_features_of_card_and_file(arrow: pa.DataType, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets.disable_progress_bars()
    values = next(values for kept, values in KEPT if kept == arrow)
    carry(pa.array([None, *values], arrow), tmp_path / "a.parquet")
    rows = datasets.load_dataset("parquet", data_files=str(tmp_path / "a.parquet"), split="train", cache_dir=tmp_path)
    assert rows[0]["column"] is None
    assert rows.data.column("column").type == arrow
    assert datasets.Features.from_dict({"column": feature(arrow)}) == rows.features
    assert [{"name": "column", **card_feature(arrow)}] == rows.features._to_yaml_list()
