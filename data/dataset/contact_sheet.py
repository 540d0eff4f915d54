"""Contact sheet: the dataset's first rows on one page, each with its prompt and images."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageFont

from imagemill.data.config.columns import GUIDES
from imagemill.data.errors import BadRow
from imagemill.data.images.codec import decode_image
from imagemill.data.storage.locations import Location, arrow_source

ROWS = 24
"""Rows on the sheet, from the start of the dataset."""

_SIDE = 160
_GAP = 12
_LINES = 4
_LINE = 15
_TEXT = _LINES * _LINE + 8


def contact_sheet(paths: Sequence[Location], columns: int = 6) -> bytes:
    """A JPEG of the files' first rows: prompt and image, and for an edit the instruction and the edited image.

    Control images of a row come first.
    """
    rows = _first_rows(paths)
    if not rows:
        return _jpeg(Image.new("RGB", (_SIDE, _SIDE), "white"))
    images = max(len(row["images"]) for row in rows)
    columns = min(columns // images, len(rows))
    cell = (images * (_SIDE + _GAP), _TEXT + _SIDE + 2 * _GAP)
    sheet = Image.new("RGB", (columns * (cell[0] + _GAP) + _GAP, -(-len(rows) // columns) * cell[1] + _GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    # Two at once, since the largest images take 200 MB each while they are scaled down.
    with ThreadPoolExecutor(2) as threads:
        thumbnails = threads.map(_thumbnail, (content for row in rows for _, content in row["images"]))
        for number, row in enumerate(rows):
            left = _GAP + number % columns * (cell[0] + _GAP)
            top = _GAP + number // columns * cell[1]
            for place, (text, _) in enumerate(row["images"]):
                x = left + place * (_SIDE + _GAP)
                lines = textwrap.wrap((text or "")[:500], width=27, max_lines=_LINES, placeholder=" ...")
                draw.multiline_text((x, top), "\n".join(lines), fill="black", font=font, spacing=2)
                sheet.paste(next(thumbnails), (x, top + _TEXT))
    return _jpeg(sheet)


def _thumbnail(content: bytes) -> Image.Image:
    try:
        # The row is in the dataset, whatever a recipe says of new ones.
        image = decode_image(content, "contact sheet", truncated=True)
    except BadRow:
        # An input image in a format that the machine of its edit could read, and this one cannot.
        return _unreadable()
    # A small image shows its own pixels.
    resampling = Image.Resampling.NEAREST if max(image.size) < _SIDE else Image.Resampling.LANCZOS
    scale = _SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, resampling, reducing_gap=3.0)


def _unreadable() -> Image.Image:
    tile = Image.new("RGB", (_SIDE, _SIDE), "lightgrey")
    ImageDraw.Draw(tile).text((_GAP, _SIDE // 2), "cannot be read here", fill="black", font=ImageFont.load_default(12))
    return tile


def shrink_sheet(sheet: bytes, max_bytes: int) -> bytes:
    """The sheet as WebP of at most ``max_bytes``, with lower quality and size if necessary.

    At 20 KB a sheet of 24 photographs can be read, which a JPEG of that size cannot.
    """
    image: Image.Image = Image.open(io.BytesIO(sheet))
    while True:
        for quality in (75, 45, 20):
            buffer = io.BytesIO()
            image.save(buffer, "WEBP", quality=quality)
            if len(smaller := buffer.getvalue()) <= max_bytes:
                return smaller
        image = image.resize((image.width * 3 // 4, image.height * 3 // 4), Image.Resampling.LANCZOS)


def _first_rows(paths: Sequence[Location]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for path in paths:
        file = pq.ParquetFile(arrow_source(path))
        names = file.schema_arrow.names
        guides = [name for name in GUIDES if name in names]
        images = ["image"] if "image" in names else ["input_image", "edited_image"]
        texts = ["prompt", "edit_prompt"][: len(images)]
        for batch in file.iter_batches(batch_size=ROWS, columns=[*guides, *images, *texts]):
            for fields in batch.to_pylist():
                control = [(name.replace("_", " "), fields[name]["bytes"]) for name in guides]
                main = [(fields[text], fields[name]["bytes"]) for name, text in zip(images, texts, strict=True)]
                rows.append({"images": [*control, *main]})
                if len(rows) == ROWS:
                    return rows
    return rows


def _jpeg(sheet: Image.Image, quality: int = 88) -> bytes:
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
