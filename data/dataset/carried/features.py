"""Features of Arrow types, as Hugging Face `datasets` reads them from a file's metadata and from a dataset's card."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from imagemill.data.dataset.carried.arrow_kinds import IMAGE

_NAMES = {"halffloat": "float16", "float": "float32", "double": "float64", "date32[day]": "date32"}


def feature(arrow: pa.DataType) -> dict[str, Any]:
    """The feature of a type in a file's metadata."""
    types = pa.types
    if arrow == IMAGE:
        return {"_type": "Image"}
    if types.is_struct(arrow):
        return {field.name: feature(field.type) for field in arrow}
    if types.is_fixed_size_list(arrow):
        return {"_type": "List", "feature": feature(arrow.value_type), "length": arrow.list_size}
    if types.is_list(arrow) or types.is_large_list(arrow):
        return {"_type": "List" if types.is_list(arrow) else "LargeList", "feature": feature(arrow.value_type)}
    return {"dtype": _name(arrow), "_type": "Value"}


def card_feature(arrow: pa.DataType) -> dict[str, Any]:
    """The feature of a type in a card's YAML, without the column's name."""
    types = pa.types
    if types.is_struct(arrow) and arrow != IMAGE:
        return {"struct": [{"name": field.name, **card_feature(field.type)} for field in arrow]}
    if types.is_fixed_size_list(arrow) or types.is_list(arrow) or types.is_large_list(arrow):
        inner = card_feature(arrow.value_type)
        # What a list holds stands there without its heading, unless that is a list again.
        content = next(iter(inner.values())) if {"struct", "dtype"} & inner.keys() else inner
        length = {"length": arrow.list_size} if types.is_fixed_size_list(arrow) else {}
        return {"large_list" if types.is_large_list(arrow) else "list": content, **length}
    return {"dtype": "image" if arrow == IMAGE else _name(arrow)}


def _name(arrow: pa.DataType) -> str:
    return _NAMES.get(str(arrow), str(arrow))
