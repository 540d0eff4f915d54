"""Lines of a table as csv.reader takes them, with a way back to the line after the one that a broken row began on."""

from __future__ import annotations

import io
from collections.abc import Iterator

from imagemill.data.prompts.formats.bounded_lines import MAX_LINE_BYTES, TOO_LONG, bounded_lines
from imagemill.data.prompts.formats.text_file import Source


class LongLine(Exception):
    """A line, or a row of several lines, is too long; the next line can be read."""


class TableLines:
    """Iterator over a file's lines, as text. Holds the lines of the current row only.

    Not a generator, which ends with its first exception. Going back keeps the time linear: a row that is open ends at
    the latest at the next line with an odd number of quotes, and every broken row begins with such a line, so that no
    line is read again for more than one of them.
    """

    def __init__(self, file: Source) -> None:
        self._sources = [bounded_lines(file, old_mac=True)]
        # One block of bytes: as a list of texts, 16 MiB of short lines would take half a gibibyte.
        self._row = bytearray()
        self._first_bytes = 0
        self.number = 0
        """Of the last line."""
        self.row_lines = 0
        """Lines of the current row."""

    def __iter__(self) -> TableLines:
        return self

    def __next__(self) -> str:
        raw = self._next_raw()
        self.number += 1
        if raw is None:
            if not self.row_lines:
                raise LongLine(TOO_LONG)
            # The row before it is broken, and this line is set aside after that.
            self._give_back(iter([None]))
            raise LongLine("the row is open at a line that is too long")
        if len(self._row) + len(raw) > MAX_LINE_BYTES and self.row_lines:
            self._give_back(iter([raw]))
            raise LongLine(f"the row has over {MAX_LINE_BYTES // 2**20} MiB")
        if not self.row_lines:
            self._first_bytes = len(raw)
        self._row += raw
        self.row_lines += 1
        return _text(raw, self.number)

    def _next_raw(self) -> bytes | None:
        while True:
            try:
                return next(self._sources[-1])
            except StopIteration:
                if len(self._sources) == 1:
                    raise
                self._sources.pop()

    def _give_back(self, line: Iterator[bytes | None]) -> None:
        self._sources.append(line)
        self.number -= 1

    def begin_row(self) -> int:
        """Forget the lines of the last row; returns the number of the next line."""
        self._row.clear()
        self.row_lines = 0
        return self.number + 1

    def lines_of_row(self) -> Iterator[str]:
        """The lines of the current row."""
        first = self.number - self.row_lines + 1
        lines = bounded_lines(io.BytesIO(bytes(self._row)), old_mac=True)
        return (_text(raw or b"", first + offset) for offset, raw in enumerate(lines))

    def go_back(self, lines: int = 1) -> None:
        """Continue with the row's second line; or with its first, if ``lines`` is 0."""
        rest = bytes(self._row[self._first_bytes :] if lines else self._row)
        self.number -= self.row_lines - lines
        self._sources.append(bounded_lines(io.BytesIO(rest), old_mac=True))
        self.begin_row()


def _text(raw: bytes, number: int) -> str:
    # surrogateescape: a text that is not UTF-8 reaches the row's reader, which sets that row alone aside.
    return raw.decode("utf-8-sig" if number == 1 else "utf-8", "surrogateescape")
