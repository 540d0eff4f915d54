"""Arrow tables of rows, assembled from buffers: pyarrow's own conversion imports pandas, which takes half a second."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa

_CODES = {
    pa.int8(): "b",
    pa.int16(): "h",
    pa.int32(): "i",
    pa.int64(): "q",
    pa.uint8(): "B",
    pa.uint16(): "H",
    pa.uint32(): "I",
    pa.uint64(): "Q",
    pa.float32(): "f",
    pa.float64(): "d",
}
"""Arrow type -> type code of Python's array, which refuses a value that does not fit."""


def table_of(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """As ``pa.Table.from_pylist``, for the types of a dataset's columns; a column that a row lacks is null.

    Dates, times, durations and decimals are given as the integers that Arrow stores.
    """
    return pa.Table.from_arrays(
        [_column([row.get(field.name) for row in rows], field.type) for field in schema], schema=schema
    )


def mask_of(values: Sequence[bool]) -> pa.Array:
    """The values as a mask, by which a table is filtered."""
    return _column(values, pa.bool_())


def _column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    is_valid = [value is not None for value in values]
    nulls = len(values) - sum(is_valid)
    valid = _bits(is_valid) if nulls else None

    def array_of(buffers: Sequence[pa.Buffer], children: Sequence[pa.Array] | None = None) -> pa.Array:
        return pa.Array.from_buffers(kind, len(values), [valid, *buffers], nulls, children=children)

    if code := _code(kind):
        return array_of([pa.py_buffer(array(code, (0 if value is None else value for value in values)))])
    if pa.types.is_boolean(kind):
        return array_of([_bits([bool(value) for value in values])])
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        contents = [value.encode() if isinstance(value, str) else value or b"" for value in values]
        return array_of([_offsets(contents), pa.py_buffer(b"".join(contents))])
    if pa.types.is_struct(kind):
        fields = [_column([value and value.get(field.name) for value in values], field.type) for field in kind]
        return array_of([], fields)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        lists = [value or [] for value in values]
        offsets = _offsets(lists, "q" if pa.types.is_large_list(kind) else "i")
        return array_of([offsets], [_column([element for elements in lists for element in elements], kind.value_type)])
    if pa.types.is_fixed_size_list(kind):
        empty = [None] * kind.list_size
        elements = [element for value in values for element in (empty if value is None else value)]
        return array_of([], [_column(elements, kind.value_type)])
    return _rare_column(values, kind, array_of)


def _rare_column(values: Sequence[Any], kind: pa.DataType, array_of: Callable[[list[pa.Buffer]], pa.Array]) -> pa.Array:
    if pa.types.is_null(kind):
        return pa.nulls(len(values))
    if pa.types.is_float16(kind):
        return array_of([pa.py_buffer(np.array([0 if value is None else value for value in values], np.float16))])
    if pa.types.is_decimal(kind):
        width = kind.byte_width
        return array_of(
            [pa.py_buffer(b"".join((value or 0).to_bytes(width, "little", signed=True) for value in values))]
        )
    if pa.types.is_fixed_size_binary(kind):
        return array_of([pa.py_buffer(b"".join(value or bytes(kind.byte_width) for value in values))])
    raise TypeError(f"no column of a dataset has the type {kind}")


def _code(kind: pa.DataType) -> str | None:
    """The type code of the integers or floats that a column of this type holds."""
    if code := _CODES.get(kind):
        return code
    if pa.types.is_temporal(kind):
        return "i" if kind.bit_width == 32 else "q"
    return None


def _offsets(values: Sequence[Any], code: str = "i") -> pa.Buffer:
    return pa.py_buffer(array(code, accumulate(map(len, values), initial=0)))


def _bits(values: Sequence[bool]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(np.array(values, bool), bitorder="little"))
