"""Shapes of lists and objects of JSON: the Arrow type that all of a column's values share, if there is one.

A shape is a word (``null``, ``bool``, ``int``, ``big``, ``float``, ``str``, ``json``), ``("list", shape)`` or
``("struct", ((name, shape), ...))``. ``big`` is an integer that a float may not hold, and ``json`` the end of it: these
values have no type in common, and are stored as JSON text.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

MAX_DEPTH = 8
MAX_LEAVES = 200
"""Columns of numbers and texts inside one column: Parquet stores each of them by itself."""

EXACT = 2**53
"""Integers up to this one are exact as floats."""

Shape = Any

_ARROW = {
    "null": pa.null(),
    "bool": pa.bool_(),
    "int": pa.int64(),
    "big": pa.int64(),
    "float": pa.float64(),
    "str": pa.string(),
}
_WIDER = {("int", "float"): "float", ("int", "big"): "big"}


def shape_of(value: Any) -> Shape:
    """The shape of a plain value."""
    kind = type(value)
    if kind is list:
        return _list(value)
    if kind is dict:
        return ("struct", tuple(sorted((name, shape_of(inner)) for name, inner in value.items())))
    if kind is int:
        return "int" if -EXACT <= value <= EXACT else "big" if -(2**63) <= value < 2**63 else "json"
    return {str: "str", float: "float", bool: "bool", type(None): "null"}.get(kind, "json")


def _list(values: list[Any]) -> Shape:
    # A list of numbers, such as an embedding, is long and alike.
    kinds = set(map(type, values))
    if kinds == {float}:
        return ("list", "float")
    if kinds == {str}:
        return ("list", "str")
    shape: Shape = "null"
    for value in values:
        shape = merge_shapes(shape, shape_of(value))
    return ("list", shape)


def merge_shapes(first: Shape, second: Shape) -> Shape:
    """The shape of values of both; objects need the same names, since a name that is missing is not null."""
    if first == second or second == "null":
        return first
    if first == "null":
        return second
    if isinstance(first, str) or isinstance(second, str):
        return _WIDER.get((first, second)) or _WIDER.get((second, first)) or "json"
    if first[0] != second[0]:
        return "json"
    if first[0] == "list":
        return ("list", merge_shapes(first[1], second[1]))
    if [name for name, _ in first[1]] != [name for name, _ in second[1]]:
        return "json"
    merged = zip(first[1], second[1], strict=True)
    return ("struct", tuple((name, merge_shapes(shape, other)) for (name, shape), (_, other) in merged))


def type_of_shape(shape: Shape) -> pa.DataType | None:
    """The Arrow type of values of this shape; None for those that become JSON text."""
    arrow = _type(shape, 0)
    return arrow if arrow is not None and _leaves(arrow) <= MAX_LEAVES else None


def _type(shape: Shape, depth: int) -> pa.DataType | None:
    if isinstance(shape, str):
        return _ARROW.get(shape)
    if depth == MAX_DEPTH:
        return None
    if shape[0] == "list":
        inner = _type(shape[1], depth + 1)
        return None if inner is None else pa.list_(inner)
    fields = [(name, _type(inner, depth + 1)) for name, inner in shape[1]]
    # Parquet has no struct without fields, and a column name is printed and typed.
    if not fields or any(inner is None or not name or not name.isprintable() for name, inner in fields):
        return None
    return pa.struct(fields)


def _leaves(arrow: pa.DataType) -> int:
    return sum(_leaves(arrow.field(number).type) for number in range(arrow.num_fields)) if arrow.num_fields else 1
