"""Values of carried columns: a row's plain values as their column's Arrow type stores them, exactly or not at all."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from decimal import InvalidOperation
from typing import Any

import numpy as np
import pyarrow as pa

from imagemill.data.dataset.carried.arrow_kinds import ColumnKind, type_of
from imagemill.data.plain_values import (
    NON_FINITE,
    date_from,
    decimal_from,
    duration_from,
    json_text,
    time_from,
    timestamp_from,
)

_NARROW: dict[pa.DataType, type[np.floating[Any]]] = {pa.float16(): np.float16, pa.float32(): np.float32}


class Misfit(Exception):
    """A value cannot be stored in its column without changing it."""


def carried_value(value: Any, kind: ColumnKind) -> Any:
    """The value as its column stores it: dates, times and decimals as integers. Raises Misfit."""
    if value is None:
        return None
    if kind == "json":
        return json_text(value)
    # A text column takes any value: a later one must not change those that are published.
    if kind in ("str", "mixed"):
        return value if isinstance(value, str) else json_text(value)
    return _fit(value, type_of(kind))


def _fit(value: Any, arrow: pa.DataType) -> Any:
    types = pa.types
    if value is None:
        return None
    if types.is_boolean(arrow):
        return _checked(value, isinstance(value, bool))
    if types.is_integer(arrow):
        return _integer(value, arrow)
    if types.is_floating(arrow):
        return _float(value, arrow)
    if types.is_string(arrow):
        return _checked(value, isinstance(value, str))
    if types.is_list(arrow) or types.is_large_list(arrow) or types.is_fixed_size_list(arrow):
        fits = isinstance(value, list) and (not types.is_fixed_size_list(arrow) or len(value) == arrow.list_size)
        return [_fit(inner, arrow.value_type) for inner in _checked(value, fits)]
    if types.is_struct(arrow):
        return _struct(value, arrow)
    try:
        return _from_text(value, arrow)
    except (ValueError, TypeError, ArithmeticError, InvalidOperation, binascii.Error) as error:
        raise Misfit from error


def _checked(value: Any, fits: bool) -> Any:
    if not fits:
        raise Misfit
    return value


def _integer(value: Any, arrow: pa.DataType) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_signed = pa.types.is_signed_integer(arrow)
    bits = arrow.bit_width - is_signed
    low = -(2**bits) if is_signed else 0
    return _checked(value, isinstance(value, int) and not isinstance(value, bool) and low <= value < 2**bits)


def _float(value: Any, arrow: pa.DataType) -> float:
    if isinstance(value, str) and value in NON_FINITE:
        return NON_FINITE[value]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Misfit
    try:
        number = float(value)
    except OverflowError as error:
        raise Misfit from error
    if arrow in _NARROW:
        with np.errstate(over="ignore"):
            number = float(_NARROW[arrow](number))
    return _checked(number, number == value)


def _struct(value: Any, arrow: pa.DataType) -> dict[str, Any]:
    names = [field.name for field in arrow]
    # The entry of a map is a key and a value.
    if isinstance(value, list) and names == ["key", "value"] and len(value) == 2:
        value = dict(zip(names, value, strict=True))
    fits = isinstance(value, Mapping) and value.keys() == set(names)
    return {field.name: _fit(_checked(value, fits)[field.name], field.type) for field in arrow}


def _from_text(value: Any, arrow: pa.DataType) -> Any:
    types = pa.types
    if types.is_decimal(arrow) and not isinstance(value, bool):
        return decimal_from(value, arrow.scale, arrow.precision)
    if not isinstance(value, str):
        raise Misfit
    if types.is_timestamp(arrow):
        return timestamp_from(value, arrow.unit, arrow.tz is not None)
    if types.is_date32(arrow):
        return date_from(value)
    if types.is_time(arrow):
        return time_from(value, arrow.unit)
    if types.is_duration(arrow):
        return duration_from(value, arrow.unit)
    if types.is_binary(arrow) or types.is_fixed_size_binary(arrow):
        content = base64.b64decode(value, validate=True)
        return _checked(content, types.is_binary(arrow) or len(content) == arrow.byte_width)
    raise Misfit
