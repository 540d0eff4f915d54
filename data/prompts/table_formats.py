"""Reader of tabular text files of prompts (CSV, TSV); a bad row affects no other."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from typing import BinaryIO

from imagemill.data.prompts.bounded_lines import TOO_LONG, bounded_lines
from imagemill.data.prompts.field_names import list_fields
from imagemill.data.prompts.line_formats import Record

csv.field_size_limit(16 * 2**20)


class BadHeading(Exception):
    """The column names of a table cannot be used."""


def read_separated(delimiter: str) -> Callable[[BinaryIO], Iterator[Record]]:
    """Make a reader of tables separated by ``delimiter``, with the heading in the first row."""

    def read(file: BinaryIO) -> Iterator[Record]:
        lines = _Lines(file)
        # strict: otherwise an unclosed quote would swallow the rest of the file.
        table = csv.reader(lines, delimiter=delimiter, strict=True)
        heading: list[str] | None = None
        while True:
            number = lines.number + 1
            lines.pending.clear()
            try:
                rows = [next(table)]
            except StopIteration:
                return
            except _LongLine as error:
                if heading is None:
                    raise BadHeading(f"cannot be read: {error}") from error
                yield Record(lines.number, None, str(error))
                continue
            except csv.Error as error:
                if heading is None:
                    raise BadHeading(f"is not a table row: {error}") from error
                if delimiter != "\t":
                    yield Record(number, None, f"not a table row ({error}, line {lines.number})")
                    continue
                # TSV files are rarely quoted, so a prompt may well begin with a quote.
                rows = [line.rstrip("\r\n").split(delimiter) for line in lines.pending]
            for offset, values in enumerate(rows):
                if heading is None:
                    heading = heading_of(values) if values else None
                elif any(values):
                    yield _separated_record(number + offset, heading, values)

    return read


class _LongLine(Exception):
    """A line is too long; the next one can be read."""


class _Lines:
    """Iterator over a file's lines that also collects them in ``pending`` until it is cleared.

    Not a generator, which ends with its first exception.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._lines = bounded_lines(file, old_mac=True)
        self.number = 0
        """Of the last line."""
        self.pending: list[str] = []

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        raw = next(self._lines)
        self.number += 1
        if raw is None:
            raise _LongLine(TOO_LONG)
        # surrogateescape: invalid UTF-8 reaches _separated_record, which sets only that line aside.
        line = raw.decode("utf-8-sig" if self.number == 1 else "utf-8", "surrogateescape")
        self.pending.append(line)
        return line


def heading_of(values: list[str]) -> list[str]:
    """The column names of a table, with a default for unnamed columns. Raises BadHeading."""
    # pandas writes its index without a name.
    names = [value or f"column_{number}" for number, value in enumerate(values, start=1)]
    if not all(map(_is_unicode, names)):
        raise BadHeading("is not UTF-8: save the file in UTF-8")
    if len(set(names)) < len(names):
        first, second = _equal(names)
        name = list_fields([names[first - 1]], from_heading=True)
        raise BadHeading(f"has {name} twice (columns {first} and {second}): give each column its own name")
    return names


def _equal(names: list[str]) -> tuple[int, int]:
    """The numbers, from 1, of the first two columns of the same name."""
    seen: dict[str, int] = {}
    for number, name in enumerate(names, start=1):
        if name in seen:
            return seen[name], number
        seen[name] = number
    raise ValueError("no two are equal")


def _separated_record(number: int, heading: list[str], values: list[str]) -> Record:
    extra = values[len(heading) :]
    if extra:
        fault = f"{len(extra)} more field{'s' * (len(extra) > 1)} than the heading has"
        return Record(number, None, fault)
    if not _is_unicode("".join(values)):
        return Record(number, None, "not UTF-8: save the file in UTF-8")
    return Record(number, {name: value for name, value in zip(heading, values) if value}, heading=tuple(heading))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
