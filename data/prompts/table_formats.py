"""Readers of tabular prompts files (CSV, TSV, Parquet); a bad row affects no other."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Callable, Collection, Iterator
from datetime import date, time
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from imagemill.data.prompts.field_names import list_fields
from imagemill.data.prompts.line_formats import Record

log = logging.getLogger("imagemill")

csv.field_size_limit(16 * 2**20)


class BadHeading(Exception):
    """The column names of a table cannot be used."""


def read_separated(delimiter: str) -> Callable[[BinaryIO], Iterator[Record]]:
    """Make a reader of tables separated by ``delimiter``, with the heading in the first row."""

    def read(file: BinaryIO) -> Iterator[Record]:
        # surrogateescape: invalid UTF-8 reaches _separated_record, which sets only that line aside.
        lines = _Lines(io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline=""))
        # strict: otherwise an unclosed quote would swallow the rest of the file.
        table = csv.reader(lines, delimiter=delimiter, strict=True)
        heading: list[str] | None = None
        while True:
            number = table.line_num + 1
            lines.pending.clear()
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
                # TSV files are rarely quoted, so a prompt may well begin with a quote.
                rows = [line.rstrip("\r\n").split(delimiter) for line in lines.pending]
            for offset, values in enumerate(rows):
                if heading is None:
                    heading = heading_of(values) if values else None
                elif any(values):
                    yield _separated_record(number + offset, heading, values)

    return read


class _Lines:
    """Iterator over a file's lines that also collects them in ``pending`` until it is cleared."""

    def __init__(self, file: io.TextIOWrapper) -> None:
        self.file = file
        self.pending: list[str] = []

    def __iter__(self) -> Iterator[str]:
        for line in self.file:
            self.pending.append(line)
            yield line


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
    return Record(number, {name: value for name, value in zip(heading, values) if value})


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_parquet(file: BinaryIO, images: Collection[str] = ()) -> Iterator[Record]:
    """Yield each row without binary columns, except those in ``images``, whose case is ignored."""
    table, image_names = pq.ParquetFile(file), {name.lower() for name in images}
    # Bytes cannot be carried as plain values, and an image as text would be useless.
    binary = {field.name for field in table.schema_arrow if _has_bytes(field.type)}
    embedded = {name for name in binary if name.lower() in image_names}
    columns = [field for field in table.schema_arrow if field.name not in binary - embedded]
    skipped = sorted(set(table.schema_arrow.names) - {field.name for field in columns})
    if skipped:
        log.warning("Not read from the prompts file: %s (binary).", list_fields(skipped, from_heading=False))
    names = heading_of([field.name for field in columns])
    converted = {field.name for field in columns if field.name not in embedded and not _is_plain(field.type)}
    number = 0
    for batch in table.iter_batches(batch_size=16 if embedded else 1024, columns=names):
        for fields in _pylist(batch):
            number += 1
            if fields is None:
                yield Record(number, None, "not UTF-8: a text in this row is damaged")
            else:
                plain = {name: _plain(value) if name in converted else value for name, value in fields.items()}
                yield Record(number, {name: value for name, value in plain.items() if value is not None})


def _pylist(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | None]:
    """The rows as dicts; None for a row with invalid UTF-8, which Parquet does not rule out."""
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        if batch.num_rows == 1:
            yield None
        else:
            for row in range(batch.num_rows):
                yield from _pylist(batch.slice(row, 1))


def _is_plain(kind: pa.DataType) -> bool:
    """Whether the type's values are JSON values already: null, booleans, numbers, texts, lists and objects."""
    types = pa.types
    if types.is_dictionary(kind):
        return _is_plain(kind.value_type)
    if types.is_nested(kind) and not types.is_map(kind):
        return all(_is_plain(kind.field(index).type) for index in range(kind.num_fields))
    numbers = types.is_integer(kind) or types.is_floating(kind)
    texts = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    return numbers or texts or types.is_boolean(kind) or types.is_null(kind)


def _plain(value: Any) -> Any:
    """Convert to JSON values: dates and times to ISO 8601, other types (decimals, UUIDs) to text."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value.isoformat() if isinstance(value, (date, time)) else str(value)


def _has_bytes(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.BaseExtensionType) and not isinstance(kind, pa.UuidType):
        return _has_bytes(kind.storage_type)
    if pa.types.is_nested(kind):
        return any(_has_bytes(kind.field(index).type) for index in range(kind.num_fields))
    types = pa.types
    variable = types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind)
    return variable or types.is_fixed_size_binary(kind)
