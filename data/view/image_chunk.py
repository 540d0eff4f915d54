"""Reader of single images from a Parquet file: the bytes of one row's image, without the rest of its row group.

imagemill stores images uncompressed and PLAIN, each after its length, so that an image is found by following the pages'
headers and the lengths. Where each page begins is remembered. A column that is stored otherwise, as in a file that
another program wrote, is read by pyarrow, a row group at a time.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from imagemill.data.storage.locations import Location
from imagemill.data.view.page_header import DATA_PAGE, BadPage, PageHeader, ShortHeader, parse_page_header

MAX_CHUNKS = 64
"""Row groups whose pages are remembered, over all files."""

MAX_IMAGE_BYTES = 2**28
"""Bytes of an image that is read."""

_HEADER = 4096
_MAX_HEADER = 2**20
_AHEAD = 2**16
_LEVELS = 2
"""Definition level of an image's bytes that are not null: an optional field of an optional struct."""

Read = Callable[[int, int], bytes]
"""(offset, count) -> the bytes there; fewer at the end of the file."""


@dataclass(slots=True)
class _Page:
    first: int
    """The number in the row group of its first row."""
    rows: int
    levels: np.ndarray[Any, Any]
    """uint8: whether each row has an image."""
    starts: list[int]
    """Offset in the file of each image's length, as far as the images were counted."""
    end: int
    """Offset of the byte after the page."""


@dataclass(slots=True)
class _Chunk:
    """The pages of one column in one row group, as far as they were read."""

    next: int
    end: int
    rows: int = 0
    pages: list[_Page] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)


class ImageChunks:
    """Remembers where the pages of row groups begin. Thread-safe."""

    def __init__(self) -> None:
        self._chunks: OrderedDict[tuple[str, int, int], _Chunk] = OrderedDict()
        self._lock = Lock()

    def read(self, path: Location, metadata: pq.FileMetaData, column: str, row: int) -> bytes | None:
        """The image of a row in a file, by its number there; None for a row without one.

        Raises BadPage if the column is not stored as imagemill stores images, IndexError for a row beyond the last.
        """
        first = 0
        for group in range(metadata.num_row_groups):
            rows = metadata.row_group(group).num_rows
            if row < first + rows:
                break
            first += rows
        else:
            raise IndexError(f"the file has {first} rows")
        number = _leaf(metadata, column)
        facts = metadata.row_group(group).column(number)
        if facts.compression != "UNCOMPRESSED" or facts.has_dictionary_page:
            raise BadPage("the images are compressed")
        begin, size = facts.data_page_offset, facts.total_compressed_size
        with self._lock:
            key = (str(path), group, number)
            chunk = self._chunks.setdefault(key, _Chunk(begin, begin + size))
            self._chunks.move_to_end(key)
            while len(self._chunks) > MAX_CHUNKS:
                self._chunks.popitem(last=False)
        with path.open("rb") as file:

            def read(offset: int, count: int) -> bytes:
                file.seek(offset)
                return file.read(max(0, min(count, begin + size - offset)))

            with chunk.lock:
                place = _place(chunk, row - first, read)
            if place is None:
                return None
            start, length = place
            return read(start, length)


def _leaf(metadata: pq.FileMetaData, column: str) -> int:
    """The number of the leaf with an image column's bytes. Raises BadPage if there is none of that form."""
    for number in range(metadata.num_columns):
        leaf = metadata.schema.column(number)
        if leaf.path == f"{column}.bytes":
            if leaf.max_definition_level != _LEVELS or leaf.max_repetition_level or leaf.physical_type != "BYTE_ARRAY":
                break
            return number
    raise BadPage(f"the file has no image column {column}")


def _place(chunk: _Chunk, row: int, read: Read) -> tuple[int, int] | None:
    """Offset and length of the image of a row in the row group; None for a row without one."""
    page = next((page for page in chunk.pages if page.first <= row < page.first + page.rows), None)
    while page is None:
        latest = _next_page(chunk, read)
        page = latest if row < latest.first + latest.rows else None
    if not page.levels[row - page.first]:
        return None
    number = int(np.count_nonzero(page.levels[: row - page.first]))
    ahead, at = b"", 0
    while True:
        start = page.starts[-1] if len(page.starts) <= number else page.starts[number]
        if start < at or start + 4 > at + len(ahead):
            ahead, at = read(start, 4 if len(page.starts) > number else _AHEAD), start
        if start + 4 > page.end or len(ahead) < start - at + 4:
            raise BadPage("an image begins beyond its page")
        (length,) = struct.unpack_from("<I", ahead, start - at)
        if length > min(MAX_IMAGE_BYTES, page.end - start - 4):
            raise BadPage("an image is longer than its page")
        if len(page.starts) > number:
            return start + 4, length
        page.starts.append(start + 4 + length)


def _next_page(chunk: _Chunk, read: Read) -> _Page:
    """Read the header and the levels of the next page of the row group."""
    if chunk.next >= chunk.end:
        raise BadPage("the row group has fewer pages than rows")
    header = _header(chunk.next, read)
    begin = chunk.next + header.length
    end = begin + header.size
    if header.kind != DATA_PAGE or not header.is_plain or end > chunk.end or not header.values:
        raise BadPage("a page of another kind")
    (length,) = struct.unpack("<I", read(begin, 4).ljust(4, b"\xff"))
    if length > header.size - 4:
        raise BadPage("the levels are longer than their page")
    levels = decode_levels(read(begin + 4, length), header.values) == _LEVELS
    page = _Page(chunk.rows, header.values, levels, [begin + 4 + length], end)
    chunk.pages.append(page)
    chunk.rows += header.values
    chunk.next = end
    return page


def _header(offset: int, read: Read) -> PageHeader:
    size = _HEADER
    while True:
        content = read(offset, size)
        try:
            return parse_page_header(content)
        except ShortHeader:
            # The smallest and the largest value of the page are in its header.
            if len(content) < size or size >= _MAX_HEADER:
                raise
            size *= 4


def decode_levels(content: bytes, count: int) -> np.ndarray[Any, Any]:
    """``count`` levels of two bits, uint8, from Parquet's hybrid of run lengths and bit packing. Raises BadPage.

    https://parquet.apache.org/docs/file-format/data-pages/encodings/#RLE
    """
    levels = np.empty(count, np.uint8)
    done = at = 0
    while done < count:
        head = shift = 0
        while True:
            if at >= len(content):
                raise BadPage("the levels end early")
            head |= (content[at] & 0x7F) << shift
            shift += 7
            at += 1
            if not content[at - 1] & 0x80:
                break
            if shift > 35:
                raise BadPage("a run of levels is too long")
        if head & 1:
            packed = np.frombuffer(content, np.uint8, min(2 * (head >> 1), len(content) - at), at)
            values = ((packed[:, None] >> np.array([0, 2, 4, 6], np.uint8)) & 3).reshape(-1)[: count - done]
            at += 2 * (head >> 1)
            levels[done : done + len(values)] = values
            if not len(values):
                raise BadPage("a run of levels is empty")
            done += len(values)
        else:
            if not head >> 1 or at >= len(content):
                raise BadPage("a run of levels is empty")
            run = min(head >> 1, count - done)
            levels[done : done + run] = content[at] & 3
            at += 1
            done += run
    return levels
