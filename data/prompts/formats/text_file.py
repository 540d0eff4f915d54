"""Reader of a text file as UTF-8 bytes, whatever Unicode encoding it is in; its beginning can be read ahead."""

from __future__ import annotations

import codecs
from typing import Protocol

_HEAD_BYTES = 2**16
_BLOCK = 2**20

_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
"""Byte order mark -> encoding; UTF-32's mark begins with UTF-16's."""

MIN_ASCII = 0.3
"""Share of ASCII characters from which a file with zero bytes and no mark is certainly text: with the other byte
order the same file has none."""

# Becomes bytes that are not UTF-8, so that the line's reader sets that line alone aside.
codecs.register_error("imagemill.invalid", lambda error: ("\udcff", error.end))  # type: ignore[attr-defined]


class Source(Protocol):
    """Source that is read block by block."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; none at the end."""


class TextFile:
    """A text file's bytes in UTF-8. ``head``: the first of them."""

    def __init__(self, file: Source) -> None:
        self._file = file
        head = _read_head(file)
        encoding, mark = _encoding_of(head)
        self._decoder = codecs.getincrementaldecoder(encoding)("imagemill.invalid") if encoding else None
        self.head = self._as_utf8(head[mark:], is_last=len(head) < _HEAD_BYTES)
        self._pending = self.head

    @property
    def has_mac_lines(self) -> bool:
        """True if its lines end in a carriage return alone, as on an old Mac."""
        return b"\r" in self.head and b"\n" not in self.head

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes, or a few more; none at the end."""
        given, self._pending = self._pending[:size], self._pending[size:]
        while not given:
            block = self._file.read(size)
            given = self._as_utf8(block, is_last=not block)
            if not block:
                break
        return given

    def _as_utf8(self, content: bytes, is_last: bool) -> bytes:
        if self._decoder is None:
            return content
        return self._decoder.decode(content, is_last).encode("utf-8", "surrogatepass")


def _read_head(file: Source) -> bytes:
    head = b""
    while len(head) < _HEAD_BYTES and (block := file.read(_HEAD_BYTES - len(head))):
        head += block
    return head


def _encoding_of(head: bytes) -> tuple[str | None, int]:
    """The encoding of a file that begins like this, None for UTF-8, and the length of its byte order mark."""
    for mark, encoding in _MARKS.items():
        if head.startswith(mark):
            return encoding, len(mark)
    if b"\0" not in head:
        return None, 0
    return next((encoding for encoding in _MARKS.values() if _is_surely(encoding, head)), None), 0


def _is_surely(encoding: str, head: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder(encoding)("strict").decode(head)
    except UnicodeDecodeError:
        return False
    ascii_characters = sum(" " <= character <= "~" for character in text)
    return "\0" not in text and ascii_characters > MIN_ASCII * len(text)
