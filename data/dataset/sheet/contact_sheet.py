"""Contact sheet: rows from all over the dataset on one page, each with its prompt, its images and its seed."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from PIL import Image, ImageDraw

from imagemill.data.dataset.sheet.cells import Cell, read_cells
from imagemill.data.dataset.sheet.choices import Choices
from imagemill.data.dataset.sheet.text import LINE, draw_lines, shown, wrap
from imagemill.data.errors import BadRow
from imagemill.data.images.codec import decode_image
from imagemill.data.storage.locations import Location

_SIDE = 160
_GAP = 12
_MAX_LINES = 4
_GREY, _LIGHT_GREY = "#666666", "#cccccc"


class Line(NamedTuple):
    """Cells beside each other, laid out."""

    cells: Sequence[Cell]
    texts: list[list[list[str]]]
    """Of each cell the lines of the text above each image."""
    facts: list[list[str]]
    thumbnails: list[list[Image.Image]]
    begins: bool
    """True if a conversation, or a prompt with several settings, begins with it."""

    @property
    def text_height(self) -> int:
        """Of prompts and facts, in pixels."""
        prompts = max(len(lines) for texts in self.texts for lines in texts)
        return (prompts + max(map(len, self.facts))) * LINE + 4

    @property
    def height(self) -> int:
        """With the gap below, in pixels."""
        return self.text_height + max(image.height for images in self.thumbnails for image in images) + 2 * _GAP


def contact_sheet(paths: Sequence[Location], columns: int = 6, choices: Choices | None = None) -> bytes:
    """A JPEG of rows from all over these files: prompt and image, and for an edit the instruction and its result.

    Control images of a row come first. ``columns``: images beside each other. ``choices``: each row has its score, and
    one image that was rejected in its favour.
    """
    groups = read_cells(paths, choices)
    if not groups:
        return _jpeg(Image.new("RGB", (_SIDE, _SIDE), "white"))
    images = max(len(cell.images) for group in groups for cell in group)
    placed = list(_place(groups, max(1, columns // images)))
    width = images * (_SIDE + _GAP) - _GAP
    # Two at once, since the largest images take 200 MB each while they are scaled down.
    with ThreadPoolExecutor(2) as threads:
        contents = [content for _, cells in placed for cell in cells for _, content in cell.images]
        thumbnails = threads.map(_thumbnail, contents)
        lines = [_lay_out(cells, begins, width, thumbnails) for begins, cells in placed]
    across = max(len(line.cells) for line in lines)
    size = (across * (width + 2 * _GAP), sum(line.height for line in lines) + _GAP)
    sheet, top = Image.new("RGB", size, "white"), _GAP
    draw = ImageDraw.Draw(sheet)
    for line in lines:
        if line.begins and top > _GAP:
            draw.line([(_GAP, top - _GAP), (size[0] - _GAP, top - _GAP)], fill=_LIGHT_GREY)
        _draw(sheet, draw, line, top, width)
        top += line.height
    return _jpeg(sheet)


def _place(groups: list[list[Cell]], across: int) -> Iterator[tuple[bool, list[Cell]]]:
    """The cells of each line, and whether a group begins with it. Groups of one row share lines."""
    is_grouped = any(len(group) > 1 for group in groups)
    for cells in groups if is_grouped else [[group[0] for group in groups]]:
        for start in range(0, len(cells), across):
            yield is_grouped and start == 0, cells[start : start + across]


def _lay_out(cells: Sequence[Cell], begins: bool, width: int, thumbnails: Iterator[Image.Image]) -> Line:
    return Line(
        cells,
        [[wrap(shown(text), _SIDE, _MAX_LINES) for text, _ in cell.images] for cell in cells],
        [wrap(cell.facts, width, _MAX_LINES) for cell in cells],
        [[next(thumbnails) for _ in cell.images] for cell in cells],
        begins,
    )


def _draw(sheet: Image.Image, draw: ImageDraw.ImageDraw, line: Line, top: int, width: int) -> None:
    for number, (texts, facts, images) in enumerate(zip(line.texts, line.facts, line.thumbnails, strict=True)):
        left = _GAP + number * (width + 2 * _GAP)
        bottom = top + line.text_height
        draw_lines(draw, (left, bottom - 4 - len(facts) * LINE), facts, width, _GREY)
        for place, (lines, image) in enumerate(zip(texts, images, strict=True)):
            x = left + place * (_SIDE + _GAP)
            draw_lines(draw, (x, top), lines, _SIDE)
            sheet.paste(image, (x + (_SIDE - image.width) // 2, bottom))


def _thumbnail(content: bytes | None) -> Image.Image:
    try:
        # The row is in the dataset, whatever a recipe says of new ones.
        image = decode_image(content or b"", "contact sheet", truncated=True)
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
    lines = wrap("cannot be read here", _SIDE - 2 * _GAP, _MAX_LINES)
    draw_lines(ImageDraw.Draw(tile), (_GAP, _SIDE // 2), lines, _SIDE - 2 * _GAP)
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


def _jpeg(sheet: Image.Image, quality: int = 88) -> bytes:
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
