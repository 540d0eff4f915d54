"""The kind of a carried column follows from all of its values, and loses none of them."""

from __future__ import annotations

import json
import random
from typing import Any

import pyarrow as pa
import pytest

from imagemill.data.dataset.arrow_table import table_of
from imagemill.data.dataset.carried.arrow_kinds import type_of
from imagemill.data.dataset.carried.values import carried_value
from imagemill.data.identity import dump, load
from imagemill.data.plain_values import plain
from imagemill.data.planning.column_notes import CarriedNotes

NAN = float("nan")
INF = float("inf")


def noted(values: list[Any]) -> CarriedNotes:
    notes = CarriedNotes()
    for value in values:
        notes.add({"column": value}, ())
    return notes


@pytest.mark.parametrize(
    ("values", "kind", "stored"),
    [
        ([1, -(2**63), 2**63 - 1], "int", [1, -(2**63), 2**63 - 1]),
        ([1, 0.5], "float", [1.0, 0.5]),
        ([INF, -INF, 1], "float", [INF, -INF, 1.0]),
        ([True, False], "bool", [True, False]),
        (["a", "é", ""], "str", ["a", "é", ""]),
        ([None, None], "null", [None, None]),
        ([2**64 - 1, 3], 'arrow:"uint64"', [2**64 - 1, 3]),
        ([2**63, -1], "json", ["9223372036854775808", "-1"]),
        ([2**64], "json", ["18446744073709551616"]),
        ([2**53 + 1, 0.5], "json", ["9007199254740993", "0.5"]),
        ([True, 1], "json", ["true", "1"]),
        ([1, "x", [1], {"k": 1}, None, NAN], "mixed", ["1", "x", "[1]", '{"k": 1}', None, "NaN"]),
        ([[1, 2], [], None, [None]], 'arrow:{"list":"int64"}', [[1, 2], [], None, [None]]),
        ([[1], [0.5]], 'arrow:{"list":"double"}', [[1.0], [0.5]]),
        ([[1], ["a"]], "json", ["[1]", '["a"]']),
        ([[1], {"a": 1}], "json", ["[1]", '{"a": 1}']),
        ([[2**53 + 1], [0.5]], "json", ["[9007199254740993]", "[0.5]"]),
        ([{"a": 1, "b": None}, {"b": "x", "a": 2}], 'arrow:{"struct":[["a","int64"],["b","string"]]}', None),
        # A name that is missing is not null.
        ([{"a": 1}, {"a": 1, "b": None}], "json", ['{"a": 1}', '{"a": 1, "b": null}']),
        ([{}], "json", ["{}"]),
        ([{"": 1}], "json", ['{"": 1}']),
        ([{"k\0": 1}], "json", ['{"k\\u0000": 1}']),
        ([[[[[[[[[[1]]]]]]]]]], "json", ["[[[[[[[[[1]]]]]]]]]"]),
        ([{f"f{n}": n for n in range(300)}], "json", None),
    ],
    ids=lambda value: str(value)[:40],
)
def test_values_come_back_in_the_type_that_all_of_them_have(values: list[Any], kind: str, stored: list[Any] | None):
    assert noted(values).kinds() == {"column": kind}
    found = [carried_value(plain(value), kind) for value in values]
    assert found == (values if stored is None and kind != "json" else stored or found)


def random_value(rng: random.Random, depth: int = 2) -> Any:
    match rng.randrange(9 if depth else 7):
        case 0:
            return rng.choice([0, -1, 2**53 + 1, -(2**63), 2**63, 2**64, -(2**70)])
        case 1:
            return rng.choice([0.5, -0.0, 1e308, 5e-324, NAN, INF, -INF])
        case 2:
            return rng.choice(["", "NaN", "1", '"', "é"])
        case 3:
            return rng.random() < 0.5
        case 4:
            return None
        case 5 | 6:
            return rng.randrange(100)
        case 7:
            return [random_value(rng, depth - 1) for _ in range(rng.randrange(3))]
        case _:
            return {name: random_value(rng, depth - 1) for name in "ab"[: rng.randrange(3)]}


@pytest.mark.parametrize("seed", range(300))
def test_any_values_of_json_come_back_as_they_are(seed: int):
    rng = random.Random(seed)
    # Columns of one shape, and mixed ones.
    some = [random_value(rng) for _ in range(rng.randint(1, 3))]
    values = [rng.choice(some) for _ in range(6)]
    (kind,) = noted(values).kinds().values()
    stored = [carried_value(load(dump(plain(value))), kind) for value in values]
    (back,) = table_of([{"c": value} for value in stored], pa.schema([("c", type_of(kind))])).to_pydict().values()
    for value, found in zip(values, back, strict=True):
        if value is None:
            assert found is None
        elif kind == "json" or (kind == "mixed" and not isinstance(value, str)):
            assert same(json.loads(found), plain(value)) or found == plain(value)
        else:
            assert same(found, value)


def same(first: Any, second: Any) -> bool:
    """Whether the values are equal, as NaN is to itself, and the number 1 to 1.0 but not to true."""
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(same(first[name], second[name]) for name in first)
    return (first == second or first != first != second != second) and isinstance(first, bool) == isinstance(
        second, bool
    )


@pytest.mark.parametrize("value", [NAN, [NAN, 1.5], {"a": [INF]}], ids=str)
def test_a_float_that_is_not_finite_stays_one(value: Any):
    (kind,) = noted([value]).kinds().values()
    assert str(carried_value(plain(value), kind)) == str(value)


def test_one_odd_row_puts_no_quotes_round_the_others():
    values = [f"text {number}" for number in range(100)]
    kind = noted([*values, 7]).kinds()["column"]
    assert [carried_value(value, kind) for value in [*values, 7]] == [*values, "7"]


def test_json_text_is_valid_json_whatever_is_in_it():
    value = [1, "a", NAN, 2**70]
    text = carried_value(plain(value), noted([value]).kinds()["column"])
    assert json.loads(text, parse_constant=pytest.fail) == [1, "a", "NaN", 2**70]


def test_the_type_that_a_file_declares_is_that_of_the_column():
    notes = CarriedNotes()
    types = {"small": pa.int8(), "empty": pa.float32(), "prompt": pa.string()}
    notes.declare(types, lambda names: [name for name in names if name != "prompt"])
    notes.add({"small": 5}, types)
    assert {name: type_of(kind) for name, kind in notes.kinds().items()} == {"small": pa.int8(), "empty": pa.float32()}


def test_files_that_declare_several_types_for_a_column_give_one_that_holds_all_values():
    notes = CarriedNotes()
    for arrow, value in ((pa.int8(), 1), (pa.null(), None), (pa.int32(), 2**20)):
        types = {"n": arrow, "l": pa.list_(arrow)}
        notes.declare(types, lambda names: names)
        notes.add({"n": value, "l": [value]}, types)
    assert notes.kinds() == {"l": "json", "n": "int"}


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 0.5], "float"),
        ([2**63 - 1, 0.5], "float"),
        ([2**63], "json"),
        ([[1]], "json"),
        ([1, "a"], "json"),
        ([True, 1], "json"),
        ([None], "null"),
        (["a"], "str"),
    ],
    ids=str,
)
def test_an_old_dataset_is_read_by_the_rules_of_its_version(values: list[Any], kind: str):
    assert noted(values).columns["column"].old_kind() == kind
