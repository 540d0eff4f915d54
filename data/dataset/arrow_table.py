"""Arrow tables of rows, assembled from buffers: pyarrow's own conversion imports pandas, which takes half a second."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa

_NUMBERS = {pa.int32(): "i", pa.int64(): "q", pa.uint64(): "Q", pa.float64(): "d"}
"""Arrow type -> type code of Python's array, which refuses a value that does not fit."""


def table_of(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """As ``pa.Table.from_pylist``, for the types of a dataset's columns; a column that a row lacks is null."""
    return pa.Table.from_arrays(
        [_column([row.get(field.name) for row in rows], field.type) for field in schema], schema=schema
    )


def _column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    is_valid = [value is not None for value in values]
    nulls = len(values) - sum(is_valid)
    valid = _bits(is_valid) if nulls else None

    def array_of(buffers: Sequence[pa.Buffer], children: Sequence[pa.Array] | None = None) -> pa.Array:
        return pa.Array.from_buffers(kind, len(values), [valid, *buffers], nulls, children=children)

    if kind in _NUMBERS:
        return array_of([pa.py_buffer(array(_NUMBERS[kind], (0 if value is None else value for value in values)))])
    if pa.types.is_boolean(kind):
        return array_of([_bits([bool(value) for value in values])])
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        contents = [value.encode() if isinstance(value, str) else value or b"" for value in values]
        return array_of([_offsets(contents), pa.py_buffer(b"".join(contents))])
    if pa.types.is_struct(kind):
        fields = [_column([value and value.get(field.name) for value in values], field.type) for field in kind]
        return array_of([], fields)
    if pa.types.is_list(kind):
        lists = [value or [] for value in values]
        return array_of(
            [_offsets(lists)], [_column([element for elements in lists for element in elements], kind.value_type)]
        )
    raise TypeError(f"no column of a dataset has the type {kind}")


def _offsets(values: Sequence[Any]) -> pa.Buffer:
    return pa.py_buffer(array("i", accumulate(map(len, values), initial=0)))


def _bits(values: Sequence[bool]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(np.array(values, bool), bitorder="little"))
