"""Prompts files of columns: CSV, TSV and Parquet, a bad row at a time."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Callable, Collection, Iterator
from datetime import date, time
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from imagemill.data.prompts.line_formats import Record, shorten

log = logging.getLogger("imagemill")

csv.field_size_limit(16 * 2**20)


class BadHeading(Exception):
    """The names of a table's columns cannot be used."""


def read_separated(delimiter: str) -> Callable[[BinaryIO], Iterator[Record]]:
    """A reader of tables whose fields stand apart by ``delimiter`` and whose first row is the heading."""

    def read(file: BinaryIO) -> Iterator[Record]:
        # surrogateescape: bytes that are not UTF-8 reach _separated_record, which sets just their line aside.
        lines = _Lines(io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline=""))
        # strict: a quote that is never closed would take the rest of the file for one field.
        table = csv.reader(lines, delimiter=delimiter, strict=True)
        heading: list[str] | None = None
        while True:
            number = table.line_num + 1
            lines.taken.clear()
            try:
                rows = [next(table)]
            except StopIteration:
                return
            except csv.Error as error:
                if heading is None:
                    raise BadHeading(f"is not a table row: {error}") from error
                if delimiter != "\t":
                    yield Record(number, None, f"not a table row ({error}, line {table.line_num})")
                    continue
                # Most that write TSV quote nothing: there a prompt may well begin with a quote.
                rows = [line.rstrip("\r\n").split(delimiter) for line in lines.taken]
            for place, values in enumerate(rows):
                if heading is None:
                    heading = heading_of(values) if values else None
                elif any(values):
                    yield _separated_record(number + place, heading, values)

    return read


class _Lines:
    """A file's lines, those since ``taken`` was cleared kept."""

    def __init__(self, file: io.TextIOWrapper) -> None:
        self.file = file
        self.taken: list[str] = []

    def __iter__(self) -> Iterator[str]:
        for line in self.file:
            self.taken.append(line)
            yield line


def heading_of(values: list[str]) -> list[str]:
    """The names of a table's columns, one for each nameless one. Raises BadHeading."""
    # pandas leaves the heading of its index empty.
    names = [value or f"column_{place}" for place, value in enumerate(values, start=1)]
    if not all(map(_is_unicode, names)):
        raise BadHeading("is not UTF-8: save the file in UTF-8")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise BadHeading(f"has {twice!r} twice: give each column its own name")
    return names


def _separated_record(number: int, heading: list[str], values: list[str]) -> Record:
    extra = values[len(heading) :]
    if extra:
        more = f"{len(extra)} more field{'s' * (len(extra) > 1)} than the heading has"
        return Record(number, None, f"{more}, from {shorten(extra[0])}")
    if not _is_unicode("".join(values)):
        return Record(number, None, "not UTF-8: save the file in UTF-8")
    return Record(number, {name: value for name, value in zip(heading, values) if value})


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_parquet(file: BinaryIO, images: Collection[str] = ()) -> Iterator[Record]:
    """Yield each row, without its binary columns, but for those named in ``images``, in capitals or not."""
    table, wanted = pq.ParquetFile(file), {name.lower() for name in images}
    # Binary columns cannot be carried as plain values; an image there would be, as text, of no use.
    binary = {field.name for field in table.schema_arrow if _holds_bytes(field.type)}
    held = {name for name in binary if name.lower() in wanted}
    columns = [field for field in table.schema_arrow if field.name not in binary - held]
    left_out = sorted(set(table.schema_arrow.names) - {field.name for field in columns})
    if left_out:
        log.warning("Not read from the prompts file: %s (binary).", ", ".join(left_out))
    names = heading_of([field.name for field in columns])
    odd = {field.name for field in columns if field.name not in held and not _is_plain(field.type)}
    number = 0
    for batch in table.iter_batches(batch_size=16 if held else 1024, columns=names):
        for fields in _pylist(batch):
            number += 1
            if fields is None:
                yield Record(number, None, "not UTF-8: a text in this row is damaged")
            else:
                plain = {name: _plain(value) if name in odd else value for name, value in fields.items()}
                yield Record(number, {name: value for name, value in plain.items() if value is not None})


def _pylist(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | None]:
    """The rows as dicts; None for one with a text that is not UTF-8, which Parquet does not rule out."""
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        if batch.num_rows == 1:
            yield None
        else:
            for row in range(batch.num_rows):
                yield from _pylist(batch.slice(row, 1))


def _is_plain(kind: pa.DataType) -> bool:
    """Whether the type's values come as what JSON has: null, true, numbers, texts, lists and objects."""
    types = pa.types
    if types.is_dictionary(kind):
        return _is_plain(kind.value_type)
    if types.is_nested(kind) and not types.is_map(kind):
        return all(_is_plain(kind.field(index).type) for index in range(kind.num_fields))
    numbers = types.is_integer(kind) or types.is_floating(kind)
    texts = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    return numbers or texts or types.is_boolean(kind) or types.is_null(kind)


def _plain(value: Any) -> Any:
    """Dates and times in ISO 8601, other values that JSON does not have (decimals, UUIDs) as their text."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value.isoformat() if isinstance(value, (date, time)) else str(value)


def _holds_bytes(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.BaseExtensionType) and not isinstance(kind, pa.UuidType):
        return _holds_bytes(kind.storage_type)
    if pa.types.is_nested(kind):
        return any(_holds_bytes(kind.field(index).type) for index in range(kind.num_fields))
    types = pa.types
    variable = types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind)
    return variable or types.is_fixed_size_binary(kind)
