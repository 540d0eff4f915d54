"""Read a prompts file of any supported format as a stream of records, a bad line at a time.

Memory does not grow with the file: nothing here keeps a record once it is yielded.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, time
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import fsspec
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from data.errors import InputError

log = logging.getLogger("imagemill")

csv.field_size_limit(16 * 2**20)

MAX_DEPTH = 64
"""Deepest nesting of lists and objects in a line: what walks through deeper ones runs out of stack."""

_LONG_NUMBER = re.compile(rb"\d{19}")


@dataclass(frozen=True, slots=True)
class Record:
    """One line of a prompts file, or what is wrong with it."""

    line: int
    """Counted from 1 as an editor does; for Parquet the row's number."""
    fields: dict[str, Any] | None
    fault: str | None = None


class _BadHeading(Exception):
    """The names of a table's columns cannot be used."""


def read_records(path: str) -> Iterator[Record]:
    """Yield a prompts file's records in order. Raises InputError when the file as a whole cannot be read."""
    read = _reader(path)
    try:
        opened = fsspec.open(path, "rb", compression="infer")
    except (ImportError, ValueError) as error:
        # No such protocol, or one (s3://, https://) whose package is not installed.
        raise InputError(f"the prompts file {path!r} cannot be opened: {error}.") from error
    try:
        with ExitStack() as stack:
            yield from read(_enter(stack, opened))
    except FileNotFoundError as error:
        raise InputError(f"the prompts file {path!r} does not exist. Give recipe.prompts the path of one.") from error
    except IsADirectoryError as error:
        raise InputError(f"the prompts file {path!r} is a folder. Give recipe.prompts the path of a file.") from error
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise InputError(f"the prompts file {path!r} is cut short or damaged: {error}.") from error
    except _BadHeading as error:
        raise InputError(f"the heading of the prompts file {path!r} {error}.") from error
    except pa.ArrowException as error:
        raise InputError(f"the prompts file {path!r} is not Parquet, or is damaged: {error}") from error
    except OSError as error:
        raise InputError(f"the prompts file {path!r} cannot be read: {error}.") from error


def _enter(stack: ExitStack, opened: fsspec.core.OpenFile) -> BinaryIO:
    try:
        return stack.enter_context(opened)
    except (OSError, EOFError, zlib.error, lzma.LZMAError):
        raise
    # A store's client has errors of its own, such as that there are no credentials.
    except Exception as error:
        raise OSError(str(error)) from error


def _reader(path: str) -> Callable[[BinaryIO], Iterator[Record]]:
    suffixes = PurePosixPath(path.lower()).suffixes
    while suffixes and suffixes[-1] in (".gz", ".bz2", ".xz"):
        suffixes.pop()
    suffix = suffixes[-1] if suffixes else ""
    if suffix not in READERS:
        raise InputError(
            f"the prompts file {path!r} ends in {suffix or 'nothing'!r}, "
            f"which is none of {', '.join(READERS)} (also with .gz, .bz2, .xz)."
        )
    return READERS[suffix]


def _jsonl(file: BinaryIO) -> Iterator[Record]:
    for number, raw in enumerate(file, start=1):
        if fields := _plain_object(raw):
            yield Record(number, fields)
            continue
        text, fault = _decode(raw)
        if fault:
            yield Record(number, None, fault)
        elif text.strip():
            yield _json_record(number, text)


def _plain_object(raw: bytes) -> dict[str, Any] | None:
    """The object of an ordinary line, by orjson, three times as fast; None for a line that needs a closer look.

    Those are lines with a fault, with deep nesting, and with whole numbers that orjson would make inexact.
    """
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH or _LONG_NUMBER.search(raw):
        return None
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return fields if isinstance(fields, dict) else None


def _json_record(number: int, text: str) -> Record:
    try:
        fields = json.loads(text)
        # Half of a surrogate pair can only come from an escape, and no file can hold it.
        if "\\u" in text:
            json.dumps(fields, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        return Record(number, None, f"text that is not valid Unicode ({error.reason}): {_shorten(text)}")
    except (ValueError, RecursionError) as error:
        return Record(number, None, f"not JSON ({error}): {_shorten(text)}")
    if not isinstance(fields, dict):
        return Record(number, None, f'not a JSON object such as {{"prompt": "..."}}: {_shorten(text)}')
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(fields) > MAX_DEPTH:
        return Record(number, None, f"lists and objects nested over {MAX_DEPTH} deep: {_shorten(text)}")
    return Record(number, fields)


def _depth(value: Any) -> int:
    """How deep lists and dicts are nested; counted level by level, since recursion has its own limit."""
    level, depth = [value], 0
    while level := [one for one in level if isinstance(one, (dict, list))]:
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
        depth += 1
    return depth


def _text(file: BinaryIO) -> Iterator[Record]:
    for number, raw in enumerate(file, start=1):
        text, fault = _decode(raw)
        if fault:
            yield Record(number, None, fault)
        elif text.strip():
            yield Record(number, {"prompt": text.strip()})


def _separated(delimiter: str) -> Callable[[BinaryIO], Iterator[Record]]:
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
                    raise _BadHeading(f"is not a table row: {error}") from error
                if delimiter != "\t":
                    yield Record(number, None, f"not a table row ({error}, line {table.line_num})")
                    continue
                # Most that write TSV quote nothing: there a prompt may well begin with a quote.
                rows = [line.rstrip("\r\n").split(delimiter) for line in lines.taken]
            for place, values in enumerate(rows):
                if heading is None:
                    heading = _heading(values) if values else None
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


def _heading(values: list[str]) -> list[str]:
    # pandas leaves the heading of its index empty.
    names = [value or f"column_{place}" for place, value in enumerate(values, start=1)]
    if not all(map(_is_unicode, names)):
        raise _BadHeading("is not UTF-8: save the file in UTF-8")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise _BadHeading(f"has {twice!r} twice: give each column its own name")
    return names


def _separated_record(number: int, heading: list[str], values: list[str]) -> Record:
    extra = values[len(heading) :]
    if extra:
        more = f"{len(extra)} more field{'s' * (len(extra) > 1)} than the heading has"
        return Record(number, None, f"{more}, from {_shorten(extra[0])}")
    if not _is_unicode("".join(values)):
        return Record(number, None, "not UTF-8: save the file in UTF-8")
    return Record(number, {name: value for name, value in zip(heading, values) if value})


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _parquet(file: BinaryIO) -> Iterator[Record]:
    table = pq.ParquetFile(file)
    # Binary columns cannot be carried as plain values; a picture there would be, as text, of no use.
    columns = [field for field in table.schema_arrow if not _holds_bytes(field.type)]
    left_out = sorted(set(table.schema_arrow.names) - {field.name for field in columns})
    if left_out:
        log.warning("Not read from the prompts file: %s (binary).", ", ".join(left_out))
    names = _heading([field.name for field in columns])
    odd = {field.name for field in columns if not _is_plain(field.type)}
    number = 0
    for batch in table.iter_batches(batch_size=1024, columns=names):
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


def _decode(raw: bytes) -> tuple[str, str | None]:
    try:
        return raw.decode("utf-8-sig"), None
    except UnicodeDecodeError as error:
        return "", f"not UTF-8 (byte {error.start + 1}): save the file in UTF-8"


def _shorten(text: str) -> str:
    text = text.strip()
    return repr(text if len(text) <= 80 else text[:77] + "...")


READERS: dict[str, Callable[[BinaryIO], Iterator[Record]]] = {
    ".jsonl": _jsonl,
    ".csv": _separated(","),
    ".tsv": _separated("\t"),
    ".parquet": _parquet,
    ".txt": _text,
}
