"""Scanner of a JSON text of any length: finds where a value ends, in bounded memory, without parsing it."""

from __future__ import annotations

import codecs
import re

from imagemill.data.prompts.formats.bounded_lines import MAX_LINE_BYTES
from imagemill.data.prompts.formats.line_formats import BrokenFile
from imagemill.data.prompts.formats.text_file import Source

_BLOCK = 2**20
_MAX_OPEN = 2**16
"""Lists and objects that are open at once: deeper ones are no prompts."""

_BLANKS = re.compile(rb"[ \t\r\n]*")
_STRUCTURE = re.compile(rb'["\[\]{}]')
# Possessive: a match never goes back, whatever the string's length.
_IN_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_IN_SCALAR = re.compile(rb'[^\s,:"\[\]{}]*')
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{}:,]', re.DOTALL)
# In what counts as a string: JSON has no line ends there.
_NEXT_ROW = re.compile(rb"[\r\n]|,\s*\{")
_CLOSING = {b"[": b"]", b"{": b"}"}


class JsonScanner:
    """Walks over a JSON text from value to value."""

    def __init__(self, file: Source) -> None:
        self._file = file
        self._block = file.read(max(_BLOCK, len(codecs.BOM_UTF8)))
        self._at = len(codecs.BOM_UTF8) if self._block.startswith(codecs.BOM_UTF8) else 0
        self._lines = 1

    @property
    def line(self) -> int:
        """Number of the current line."""
        return self._lines + self._block.count(b"\n", 0, self._at)

    def peek(self) -> bytes:
        """The next byte that is no blank; none at the end."""
        while True:
            self._at = _BLANKS.match(self._block, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._block):
                return self._block[self._at : self._at + 1]
            if not self._fill():
                return b""

    def take(self) -> None:
        """Go over the byte that `peek` has seen."""
        self._at += 1

    def _fill(self) -> bool:
        self._lines += self._block.count(b"\n")
        self._block, self._at = self._file.read(_BLOCK), 0
        return bool(self._block)

    def value(self, opened: bytes = b"") -> bytes | None:
        """Go over a value and return its text; None if it is too long. Raises BrokenFile.

        ``opened``: the bracket that it begins with, if that was taken already.
        """
        first = opened or self.peek()
        if first not in (b'"', b"[", b"{"):
            return self._scalar()
        text = _Text(opened)
        stack, in_string, in_escape = [_CLOSING[opened]] if opened else [], False, False
        begun = self.line
        while True:
            block, at = self._block, self._at
            is_done = False
            while at < len(block) and not is_done:
                if in_escape:
                    at, in_escape = at + 1, False
                elif in_string:
                    at = _IN_STRING.match(block, at).end()  # type: ignore[union-attr]
                    in_escape = block[at : at + 1] == b"\\"
                    in_string = in_escape or at == len(block)
                    at = min(at + 1, len(block))
                    is_done = not in_string and not stack
                elif match := _STRUCTURE.search(block, at):
                    at, mark = match.end(), match[0]
                    in_string = mark == b'"'
                    if mark in _CLOSING:
                        stack.append(_CLOSING[mark])
                    elif not in_string:
                        if not stack or stack.pop() != mark:
                            raise BrokenFile(f"has {mark.decode()!r} on line {self._line_at(at)} with nothing to close")
                        is_done = not stack
                    if len(stack) > _MAX_OPEN:
                        raise BrokenFile(f"has over {_MAX_OPEN} lists and objects in each other")
                else:
                    at = len(block)
            text.add(block[self._at : at])
            self._at = at
            if is_done:
                return text.whole()
            if not self._fill():
                raise BrokenFile(f"ends inside of the value that begins on line {begun}")

    def _line_at(self, at: int) -> int:
        return self._lines + self._block.count(b"\n", 0, at)

    def _scalar(self) -> bytes | None:
        text = _Text()
        while True:
            end = _IN_SCALAR.match(self._block, self._at).end()  # type: ignore[union-attr]
            text.add(self._block[self._at : end])
            self._at = end
            if end < len(self._block) or not self._fill():
                break
        if text.size == 0 and not self.peek():
            raise BrokenFile("ends before all of its lists and objects are closed")
        if text.size == 0:
            raise BrokenFile(
                f"has {self.peek().decode('utf-8', 'replace')!r} on line {self.line}, where a value begins"
            )
        return text.whole()


class _Text:
    """The parts of a value, up to the longest one that is kept."""

    def __init__(self, first: bytes = b"") -> None:
        self._parts = [first]
        self.size = len(first)

    def add(self, part: bytes) -> None:
        self.size += len(part)
        if self.size <= MAX_LINE_BYTES:
            self._parts.append(part)
        else:
            self._parts.clear()

    def whole(self) -> bytes | None:
        return b"".join(self._parts) if self.size <= MAX_LINE_BYTES else None


def may_hold_rows(raw: bytes) -> bool:
    """True if a value that is not JSON may have other rows in it, after a quote or a bracket that is missing."""
    stack: list[bytes] = []
    last = b""
    for match in _TOKEN.finditer(raw):
        token = match[0]
        if (len(token) > 1 and _NEXT_ROW.search(token)) or (token == b"{" and last == b"," and stack[-1:] == [b"{"]):
            return True
        if token in _CLOSING:
            stack.append(token)
        elif token in (b"]", b"}"):
            stack.pop()
        last = token
    return False
