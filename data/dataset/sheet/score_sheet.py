"""Sheet of the images with the highest and the lowest scores, a line for each score, for a build's report."""

from __future__ import annotations

import heapq
import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageFont

from imagemill.data.dataset.sheet.contact_sheet import shrink_sheet
from imagemill.data.errors import BadRow
from imagemill.data.images.codec import decode_image
from imagemill.data.storage.locations import Location, arrow_source

EACH = 4
"""Images at each end of a score."""

MAX_SCORES = 8
"""Scores on the sheet, so that it can be read."""

_SIDE, _GAP, _LINE, _BATCH = 72, 6, 16, 8


class _Place(NamedTuple):
    score: float
    path: Location
    row_group: int
    row: int


def score_sheet(paths: Sequence[Location], scores: Sequence[str], max_bytes: int) -> bytes | None:
    """A WebP of at most ``max_bytes``; None where no row has any of these score columns.

    Of each score the EACH highest, highest first, and then the EACH lowest, lowest last. Rows without an image, as
    rejected/ may have, are left out.
    """
    lines = []
    for name in scores[:MAX_SCORES]:
        places = list(_places(paths, name))
        highest = heapq.nlargest(EACH, places, key=lambda place: place.score)
        rest = [place for place in places if place not in highest]
        lowest = heapq.nsmallest(EACH, rest, key=lambda place: place.score)[::-1]
        if highest:
            lines.append((name, [(place.score, _thumbnail(place)) for place in [*highest, *lowest]]))
    return shrink_sheet(_draw(lines), max_bytes) if lines else None


def _places(paths: Sequence[Location], name: str) -> Iterator[_Place]:
    """The extremes of each row group, in the order of the files."""
    for path in paths:
        with pq.ParquetFile(arrow_source(path)) as file:
            if name not in file.schema_arrow.names:
                continue
            for number in range(file.num_row_groups):
                table = file.read_row_group(number, columns=[name, "image_key"])
                scores = table[name].to_numpy()
                # What was rejected before it was edited has no last image, and so no key. A null score is nan.
                rows = np.flatnonzero(table["image_key"].is_valid().to_numpy() & ~np.isnan(scores))
                order = rows[np.argsort(scores[rows], kind="stable")]
                for row in sorted({*order[:EACH].tolist(), *order[-EACH:].tolist()}):
                    yield _Place(float(scores[row]), path, number, row)


def _thumbnail(place: _Place) -> Image.Image:
    tile = Image.new("RGB", (_SIDE, _SIDE), "lightgrey")
    try:
        image = decode_image(_content(place) or b"", "score sheet", truncated=True)
    except BadRow:
        # An image that this machine cannot read, or whose bytes rejected/ has no more.
        return tile
    scale = _SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    tile.paste(image, ((_SIDE - image.width) // 2, (_SIDE - image.height) // 2))
    return tile


def _content(place: _Place) -> bytes | None:
    with pq.ParquetFile(arrow_source(place.path)) as file:
        column = "edited_image" if "edited_image" in file.schema_arrow.names else "image"
        batches = file.iter_batches(batch_size=_BATCH, row_groups=[place.row_group], columns=[column])
        for number, batch in enumerate(batches):
            if place.row // _BATCH == number:
                content: bytes | None = (batch[column][place.row % _BATCH].as_py() or {}).get("bytes")
                return content
    return None


def _draw(lines: Sequence[tuple[str, list[tuple[float, Image.Image]]]]) -> bytes:
    width = max(len(images) for _, images in lines) * (_SIDE + _GAP) + _GAP
    height = _SIDE + 2 * _LINE + 2 * _GAP
    sheet = Image.new("RGB", (width, len(lines) * height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for number, (name, images) in enumerate(lines):
        top = number * height
        draw.text((_GAP, top), name, fill="black", font=font)
        for place, (score, image) in enumerate(images):
            left = _GAP + place * (_SIDE + _GAP)
            sheet.paste(image, (left, top + _LINE))
            draw.text((left, top + _LINE + _SIDE), f"{score:.4g}", fill="#666666", font=font)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()
