"""Reader of tabular text files of prompts (CSV, TSV); a bad row affects no other."""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection, Iterator
from itertools import islice
from typing import NamedTuple

from imagemill.data.prompts.field_names import list_fields
from imagemill.data.prompts.formats.line_formats import BrokenFile, Record
from imagemill.data.prompts.formats.table_dialects import delimiter_of, has_blanks, named_delimiter
from imagemill.data.prompts.formats.table_lines import LongLine, TableLines
from imagemill.data.prompts.formats.text_file import TextFile
from imagemill.data.prompts.texts import UTF16_HINT

csv.field_size_limit(16 * 2**20)

MAX_BROKEN = 1000
"""Lines with a quote that never closes; after these it is the file that is broken."""

MIN_DELIMITERS = 10
"""If the lines inside a field are all rows of the table, with at least this many delimiters, it is no text of several
lines but two stray quotes with rows between them."""


class BadHeading(Exception):
    """The column names of a table cannot be used."""


class _Table(NamedTuple):
    heading: list[str]
    delimiter: str
    skips_blanks: bool = False

    def rows(self, lines: Iterator[str]) -> Iterator[list[str]]:
        # strict: otherwise an unclosed quote would swallow the rest of the file.
        return csv.reader(lines, delimiter=self.delimiter, strict=True, skipinitialspace=self.skips_blanks)

    def is_row(self, line: str) -> bool:
        """True if a line alone has a value for each of several columns."""
        try:
            return len(self.heading) > 1 and len(next(self.rows(iter([line])), ())) == len(self.heading)
        except csv.Error:
            return False


def read_separated(default: str) -> Callable[..., Iterator[Record]]:
    """Make a reader of tables with a heading, separated by ``default`` or as their first lines say.

    ``named``, its second argument: fields that the recipe reads.
    """

    def read(file: TextFile, named: Collection[str] = ()) -> Iterator[Record]:
        lines = TableLines(file)
        table = _read_heading(lines, default, named)
        if table is None:
            return
        rows, broken, first_broken = table.rows(lines), 0, 0
        while True:
            number = lines.begin_row()
            try:
                values = next(rows)
            except StopIteration:
                return
            except LongLine as error:
                if not lines.row_lines:
                    yield Record(lines.number, None, str(error))
                    continue
                fault = str(error)
            except csv.Error as error:
                fault = f"{error}, line {lines.number}"
            else:
                if lines.row_lines == 1 or not _swallows_rows(values, table, lines):
                    if any(values):
                        yield _separated_record(number, table.heading, values)
                    continue
                fault = "other rows are in it"
            if table.delimiter == "\t":
                # TSV files are rarely quoted, so a prompt may well begin with a quote.
                for offset, line in enumerate(lines.lines_of_row()):
                    if any(values := line.rstrip("\r\n").split("\t")):
                        yield _separated_record(number + offset, table.heading, values)
            elif lines.row_lines == 1 and "end of data" not in fault:
                yield Record(number, None, f"not a table row ({fault})")
            else:
                broken, first_broken = broken + 1, first_broken or number
                if broken > MAX_BROKEN:
                    raise BrokenFile(
                        f"has over {MAX_BROKEN:,} lines with a quote that never closes, the first is line "
                        f"{first_broken}: write a quote inside quotes twice, or save the file as JSON Lines"
                    )
                yield Record(number, None, f"not a table row: a quote that opens here never closes ({fault})")
                lines.go_back()

    return read


def _read_heading(lines: TableLines, default: str, named: Collection[str]) -> _Table | None:
    """The table that the first rows describe; None for a file of blank lines. Raises BadHeading."""
    named_here = None
    try:
        for line in lines:
            if named_here is None and lines.number == 1 and (named_here := named_delimiter(line)):
                lines.begin_row()
            elif line.strip():
                break
            else:
                lines.begin_row()
        else:
            return None
        delimiter = named_here or delimiter_of(line, default, named)
        lines.go_back(0)
        lines.begin_row()
        names = next(_Table([], delimiter).rows(lines))
    except LongLine as error:
        raise BadHeading(f"cannot be read: {error}") from error
    except csv.Error as error:
        if delimiter != "\t":
            raise BadHeading(f"is not a table row: {error}") from error
        names = next(lines.lines_of_row()).rstrip("\r\n").split("\t")
        lines.go_back()
    if has_blanks(names, named):
        return _Table(heading_of([name.strip() for name in names]), delimiter, skips_blanks=True)
    return _Table(heading_of(names), delimiter)


def _swallows_rows(values: list[str], table: _Table, lines: TableLines) -> bool:
    """True if a row of several lines holds other rows, between a quote that never closes and the next stray one."""
    inner = islice(lines.lines_of_row(), 1, None)
    if len(values) > len(table.heading):
        return any(map(table.is_row, inner))
    # The first and the last line have a stray quote each.
    between = lines.row_lines - 2
    if between * (len(table.heading) - 1) < MIN_DELIMITERS:
        return False
    return all(map(table.is_row, islice(inner, between)))


def heading_of(values: list[str]) -> list[str]:
    """The column names of a table, with a default for unnamed columns. Raises BadHeading."""
    names = _with_defaults(values)
    if not all(map(_is_unicode, names)):
        raise BadHeading("is not UTF-8: save the file in UTF-8")
    if len(set(names)) < len(names):
        first, second = _equal(names)
        name = list_fields([names[first - 1]], from_heading=True)
        raise BadHeading(f"has {name} twice (columns {first} and {second}): give each column its own name")
    return names


def _with_defaults(values: list[str]) -> list[str]:
    # pandas writes its index without a name.
    return [value or f"column_{number}" for number, value in enumerate(values, start=1)]


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
        hint = UTF16_HINT if any("\0" in value for value in values) else "save the file in UTF-8"
        return Record(number, None, f"not UTF-8: {hint}")
    return Record(
        number,
        {name: value for name, value in zip(heading, values) if value},
        doubt="it repeats the heading, as in a file that several were joined into"
        if _repeats(heading, values)
        else None,
        heading=tuple(heading),
    )


def _repeats(heading: list[str], values: list[str]) -> bool:
    """True if the values are the heading once more; of a single column only with the mark that begins a file."""
    if len(values) != len(heading) or (len(values) > 1 and values[-1] not in (heading[-1], "")):
        return False
    first = values[0].lstrip("\ufeff")
    marked = first != values[0]
    # Behind the mark, quotes belong to the value.
    names = _with_defaults([first.strip('"') if marked else first, *values[1:]])
    return (marked or len(values) > 1) and names == heading


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
