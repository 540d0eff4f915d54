"""Links between the gallery's pages: a query and a place in it as the parameters of an address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any
from urllib.parse import quote, urlencode

from imagemill.data.view.query import Query
from imagemill.data.view.records import ImagePlace, ViewRow

PAGE_ROWS = 60
"""Rows on a page of the grid."""

MAX_PAGE_ROWS = 240

_DEFAULT = Query()
_NAMES = tuple(field.name for field in fields(Query))


def query_of(parameters: Mapping[str, str]) -> Query:
    """The query in an address. Raises RecipeError."""
    return Query(**{name: parameters[name] for name in _NAMES if parameters.get(name)})


def number_of(parameters: Mapping[str, str], name: str, default: int, most: int = 10**9) -> int:
    """A number in an address, from 0 to ``most``; the default if it is none."""
    text = parameters.get(name, "")
    return min(int(text), most) if text.isascii() and text.isdecimal() and len(text) <= 12 else default


def address(path: str, query: Query, **others: Any) -> str:
    """The address of a page for a query; parameters that have their default are left out."""
    values = {name: getattr(query, name) for name in _NAMES if getattr(query, name) != getattr(_DEFAULT, name)}
    values |= {name: value for name, value in others.items() if value not in (None, "")}
    return f"{path}?{urlencode(values)}" if values else path


def grid_link(query: Query, page: int = 0, **changes: Any) -> str:
    """The address of a page of the grid. ``changes``: fields of the query that differ."""
    return address("/", replace(query, **changes), page=page or None)


def row_link(row: ViewRow, query: Query) -> str:
    """The address of a row's page, from which the rows before and after it in the query can be reached."""
    place = {"area": row.part.area, "file": row.part.name, "n": row.row}
    return address(f"/row/{quote(row.key, safe='')}", query, **place, i=row.position)


def image_link(image: ImagePlace, size: int | None = None, key: str = "") -> str:
    """The address of an image, or of its thumbnail. ``key``: its row's, by which it is found if its file is gone."""
    path = "/".join(quote(str(part), safe="") for part in (image.part.area, image.part.name, image.row, image.column))
    values = {"place": image.place, "size": size, "key": key or None}
    given = {name: value for name, value in values.items() if value is not None}
    return f"/image/{path}?{urlencode(given)}" if given else f"/image/{path}"
