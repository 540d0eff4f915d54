"""Kinds of carried columns: each names an Arrow type and how its values are written, in one text.

``bool``, ``int``, ``float`` and ``str`` are the types of most columns, ``null`` is that of a column without a value.
``json`` is a text column whose values are JSON; in a ``mixed`` one a text is itself and any other value is JSON. Every
other type is ``arrow:`` and the type in JSON.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import pyarrow as pa

ColumnKind = str
"""Storage of a carried column."""

WORDS: dict[ColumnKind, pa.DataType] = {
    "bool": pa.bool_(),
    "int": pa.int64(),
    "float": pa.float64(),
    "str": pa.string(),
    "json": pa.string(),
    "mixed": pa.string(),
    "null": pa.null(),
}

NOTES = {"json": "JSON", "mixed": "text or JSON"}
"""Kind of a text column -> what its values are; written into the metadata of its field."""

UINT64 = 'arrow:"uint64"'

_KINDS = {WORDS[kind]: kind for kind in ("bool", "int", "float", "str", "null")}

# Nullable, in this order, not large_binary: any other type opens as a plain dict instead of an image.
IMAGE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])


@lru_cache(maxsize=1024)
def type_of(kind: ColumnKind) -> pa.DataType:
    """The Arrow type of a kind. Raises ValueError for a text that is none."""
    if kind in WORDS:
        return WORDS[kind]
    mark, _, text = kind.partition(":")
    try:
        if mark == "arrow":
            return _decode(json.loads(text))
    except (TypeError, KeyError, IndexError, RecursionError) as error:
        raise ValueError(f"no Arrow type: {kind[:80]!r}") from error
    raise ValueError(f"no kind of a column: {kind[:80]!r}")


def kind_of(arrow: pa.DataType) -> ColumnKind:
    """The kind of a column with this type, which is one that ``storable_type`` returns."""
    return _KINDS.get(arrow) or f"arrow:{json.dumps(_encode(arrow), separators=(',', ':'))}"


def storable_type(arrow: pa.DataType) -> pa.DataType | None:
    """The type in which a dataset stores values of this one; None for those that become JSON text.

    It is another one only where Parquet or `datasets` do not know the type: what a dictionary holds instead of the
    dictionary, text for a UUID, a list of keys and values for a map, the next finer unit for seconds.
    """
    types = pa.types
    if isinstance(arrow, pa.BaseExtensionType):
        return pa.string() if isinstance(arrow, pa.UuidType) else storable_type(arrow.storage_type)
    if types.is_dictionary(arrow) or types.is_run_end_encoded(arrow):
        return storable_type(arrow.value_type)
    if types.is_string(arrow) or types.is_large_string(arrow) or types.is_string_view(arrow):
        return pa.string()
    if types.is_binary(arrow) or types.is_large_binary(arrow) or types.is_binary_view(arrow):
        return pa.binary()
    if types.is_map(arrow):
        key, value = storable_type(arrow.key_type), storable_type(arrow.item_type)
        return None if key is None or value is None else pa.list_(pa.struct([("key", key), ("value", value)]))
    if types.is_nested(arrow):
        return _storable_nested(arrow)
    if types.is_date(arrow):
        return pa.date32()
    if types.is_time32(arrow):
        return pa.time32("ms")
    if types.is_timestamp(arrow):
        return pa.timestamp("ms", arrow.tz) if arrow.unit == "s" else arrow
    if types.is_decimal32(arrow) or types.is_decimal64(arrow):
        return pa.decimal128(arrow.precision, arrow.scale)
    is_known = types.is_time64(arrow) or types.is_duration(arrow) or types.is_decimal(arrow)
    is_number = types.is_boolean(arrow) or types.is_integer(arrow) or types.is_floating(arrow)
    return arrow if is_known or is_number or types.is_null(arrow) or types.is_fixed_size_binary(arrow) else None


def _storable_nested(arrow: pa.DataType) -> pa.DataType | None:
    types = pa.types
    if types.is_union(arrow) or not arrow.num_fields:
        return None
    inner = [storable_type(arrow.field(number).type) for number in range(arrow.num_fields)]
    if None in inner:
        return None
    if types.is_struct(arrow):
        names = [arrow.field(number).name for number in range(arrow.num_fields)]
        return pa.struct(list(zip(names, inner, strict=True))) if len(set(names)) == len(names) else None
    if types.is_fixed_size_list(arrow):
        return pa.list_(inner[0], arrow.list_size)
    is_large = types.is_large_list(arrow) or types.is_large_list_view(arrow)
    return pa.large_list(inner[0]) if is_large else pa.list_(inner[0])


def _encode(arrow: pa.DataType) -> Any:
    types = pa.types
    if types.is_struct(arrow):
        return {"struct": [[field.name, _encode(field.type)] for field in arrow]}
    if types.is_fixed_size_list(arrow):
        return {"list": _encode(arrow.value_type), "length": arrow.list_size}
    if types.is_list(arrow) or types.is_large_list(arrow):
        return {"list" if types.is_list(arrow) else "large_list": _encode(arrow.value_type)}
    if types.is_timestamp(arrow) and arrow.tz is not None:
        return {"timestamp": arrow.unit, "tz": arrow.tz}
    if types.is_decimal(arrow):
        return {"decimal": arrow.bit_width, "precision": arrow.precision, "scale": arrow.scale}
    if types.is_fixed_size_binary(arrow):
        return {"binary": arrow.byte_width}
    return str(arrow)


def _decode(form: Any) -> pa.DataType:
    if isinstance(form, str):
        return pa.date32() if form == "date32[day]" else pa.type_for_alias(form)
    if "struct" in form:
        return pa.struct([(name, _decode(inner)) for name, inner in form["struct"]])
    if "list" in form:
        return pa.list_(_decode(form["list"]), form.get("length", -1))
    if "large_list" in form:
        return pa.large_list(_decode(form["large_list"]))
    if "timestamp" in form:
        return pa.timestamp(form["timestamp"], form["tz"])
    if "decimal" in form:
        make = pa.decimal256 if form["decimal"] == 256 else pa.decimal128
        return make(form["precision"], form["scale"])
    return pa.binary(form["binary"])
