"""Parser of Parquet page headers: how many values a data page has, and where the next page begins.

pyarrow reads a column of a row group as a whole, which is 100 MB for one image. With the pages' headers an image is
found by a few small reads. The headers are Thrift structures in the compact protocol:
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md and
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift (PageHeader).
"""

from __future__ import annotations

from dataclasses import dataclass

DATA_PAGE = 0
"""PageType.DATA_PAGE: the first version of data pages, which imagemill writes."""

PLAIN, RLE = 0, 3
"""Encoding.PLAIN of values, Encoding.RLE of definition levels."""

_BOOLEANS = (1, 2)
_BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 3, 4, 5, 6, 7, 8, 9, 10, 12
_MAX_DEPTH = 8


class BadPage(ValueError):
    """Bytes that are no header of a page which this reader knows."""


class ShortHeader(BadPage):
    """The header continues after these bytes."""


@dataclass(frozen=True, slots=True)
class PageHeader:
    """The header of one page."""

    kind: int
    """PageType."""
    size: int
    """Bytes of the page after its header, as stored."""
    values: int
    """Number of its values, nulls included; 0 for a page of another kind."""
    is_plain: bool
    """True if its values are PLAIN, and its levels RLE."""
    length: int
    """Bytes of the header itself."""


def parse_page_header(content: bytes) -> PageHeader:
    """The header at the beginning of ``content``. Raises ShortHeader if it is longer, BadPage if it is damaged."""
    reader = _Compact(content)
    page = reader.struct()
    kind, size = page.get(1), page.get(3)
    data = page.get(5, {})
    if not isinstance(kind, int) or not isinstance(size, int) or not isinstance(data, dict) or size < 0:
        raise BadPage("a page without type or size")
    values = data.get(1, 0)
    if not isinstance(values, int) or values < 0:
        raise BadPage("a page without a number of values")
    return PageHeader(kind, size, values, data.get(2) == PLAIN and data.get(3) == RLE, reader.at)


class _Compact:
    """Reader of Thrift's compact protocol: a structure as a dict of field id -> value."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.at = 0

    def struct(self, depth: int = 0) -> dict[int, object]:
        if depth > _MAX_DEPTH:
            raise BadPage("a header that is nested too deep")
        fields: dict[int, object] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._integer()
            kind = head & 15
            # A boolean field has its value in its type.
            fields[number] = kind == 1 if kind in _BOOLEANS else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> object:
        if kind in _BOOLEANS or kind == _BYTE:
            return self._byte()
        if kind in (_I16, _I32, _I64):
            return self._integer()
        if kind in (_DOUBLE, _BINARY):
            self._skip(8 if kind == _DOUBLE else self._varint())
            return None
        if kind in (_LIST, _SET):
            head = self._byte()
            count = head >> 4 if head >> 4 < 15 else self._varint()
            if count > len(self._content):
                raise ShortHeader("a list that is longer than the header")
            for _ in range(count):
                self._value(head & 15, depth + 1)
            return None
        if kind == _STRUCT:
            return self.struct(depth + 1)
        raise BadPage(f"a field of the type {kind}")

    def _byte(self) -> int:
        if self.at >= len(self._content):
            raise ShortHeader("a header that ends early")
        self.at += 1
        return self._content[self.at - 1]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return value
            shift += 7
            if shift > 63:
                raise BadPage("a number of over 64 bits")

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _skip(self, count: int) -> None:
        self.at += count
        if self.at > len(self._content):
            raise ShortHeader("a header that ends early")
