"""Rows and pairs at known places, read a part at a time and returned in the order of the request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import pyarrow as pa

from imagemill.data.dataset.carried.arrow_kinds import IMAGE
from imagemill.data.dataset.schema import IMAGES
from imagemill.data.view.part_reader import PartReader, is_image
from imagemill.data.view.parts import Part
from imagemill.data.view.records import CARD_COLUMNS, IMAGE_COLUMNS, ImagePlace, ViewPair, ViewRow, shortened
from imagemill.data.view.search import SCORES

CARD_TEXT = 600
"""Characters of a text on a card."""

MAX_REFERENCES = 8
"""Places of a list of images that are shown."""

Place = tuple[Part, int]
"""A part, and a row's number in it."""


def read_rows(
    reader: PartReader, places: Sequence[Place], positions: Iterable[int] | None, cards: bool
) -> list[ViewRow]:
    """The rows at these places. ``cards``: only with the columns of a card, and the images that the row is about.

    Raises Replaced and OutputError.
    """
    numbers: list[int | None] = list(positions) if positions is not None else [None] * len(places)
    found: dict[Place, ViewRow] = {}
    for part, rows in _by_part(places):
        schema = reader.schema(part)
        columns = [name for name in IMAGE_COLUMNS if name in schema.names] if cards else _image_columns(schema)
        for row, values in zip(rows, reader.rows(part, rows, _on_card if cards else _not_image), strict=True):
            shown = {name: shortened(value, CARD_TEXT) if cards else shortened(value) for name, value in values.items()}
            images = tuple(place for name in columns for place in _images(part, row, name, schema.field(name), values))
            found[part, row] = ViewRow(part, row, shown, images)
    return [
        ViewRow(row.part, row.row, row.values, row.images, number)
        for number, row in zip(numbers, (found[place] for place in places), strict=True)
    ]


def read_pairs(reader: PartReader, places: Sequence[Place]) -> list[ViewPair]:
    """The preference pairs at these places. Raises Replaced and OutputError."""
    found: dict[Place, ViewPair] = {}
    for part, rows in _by_part(places):
        names = reader.schema(part).names
        columns = [name for name in ("input_image", "image_0", "image_1") if name in names]
        for row, values in zip(rows, reader.rows(part, rows, _not_image), strict=True):
            images = tuple(ImagePlace(part, row, name) for name in columns)
            shown = {name: shortened(value, CARD_TEXT) for name, value in values.items()}
            found[part, row] = ViewPair(part, row, shown, images, 1 if values.get("label_1") else 0)
    return [found[place] for place in places]


def _by_part(places: Iterable[Place]) -> list[tuple[Part, list[int]]]:
    order: dict[Part, int] = {}
    for part, _ in places:
        order.setdefault(part, len(order))
    ascending = sorted(set(places), key=lambda place: (order[place[0]], place[1]))
    return [(part, [row for _, row in group]) for part, group in groupby(ascending, key=lambda place: place[0])]


def _on_card(field: pa.Field) -> bool:
    return field.name in CARD_COLUMNS or field.name.startswith(SCORES)


def _not_image(field: pa.Field) -> bool:
    return not is_image(field)


def _image_columns(schema: pa.Schema) -> list[str]:
    """The columns of images, the row's own first."""
    names = [field.name for field in schema if is_image(field)]
    return sorted(names, key=lambda name: IMAGE_COLUMNS.index(name) if name in IMAGE_COLUMNS else len(IMAGE_COLUMNS))


def _images(part: Part, row: int, name: str, field: pa.Field, values: dict[str, Any]) -> list[ImagePlace]:
    if field.type == IMAGES:
        return [ImagePlace(part, row, name, place) for place in range(MAX_REFERENCES)]
    assert field.type == IMAGE
    # One that was rejected before its edit has no edited image.
    missing = name == "edited_image" and "sha256" in values and values["sha256"] is None
    return [] if missing else [ImagePlace(part, row, name)]
