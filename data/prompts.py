"""Read a prompts file of any supported format as a stream of records, a bad line at a time.

Memory does not grow with the file: nothing here keeps a record once it is yielded.
"""

from __future__ import annotations

import csv
import io
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from data.errors import InputError

log = logging.getLogger("imagemill")

csv.field_size_limit(16 * 2**20)


@dataclass(frozen=True, slots=True)
class Record:
    """One line of a prompts file, or what is wrong with it."""

    line: int
    """Counted from 1 as an editor does; for Parquet the row's number."""
    fields: dict[str, Any] | None
    fault: str | None = None


def read_records(path: str) -> Iterator[Record]:
    """Yield a prompts file's records in order. Raises InputError when the file as a whole cannot be read."""
    read = _reader(path)
    try:
        with fsspec.open(path, "rb", compression="infer") as file:
            yield from read(file)
    except FileNotFoundError as error:
        raise InputError(f"the prompts file {path!r} does not exist. Give recipe.prompts the path of one.") from error
    except IsADirectoryError as error:
        raise InputError(f"the prompts file {path!r} is a folder. Give recipe.prompts the path of a file.") from error
    except OSError as error:
        raise InputError(f"the prompts file {path!r} cannot be read: {error}.") from error


def _reader(path: str) -> Callable[[BinaryIO], Iterator[Record]]:
    suffixes = PurePosixPath(path).suffixes
    while suffixes and suffixes[-1] in (".gz", ".bz2", ".xz", ".zst"):
        suffixes.pop()
    suffix = suffixes[-1].lower() if suffixes else ""
    if suffix not in READERS:
        raise InputError(
            f"the prompts file {path!r} ends in {suffix or 'nothing'!r}, "
            f"which is none of {', '.join(READERS)} (also with .gz, .bz2, .xz)."
        )
    return READERS[suffix]


def _jsonl(file: BinaryIO) -> Iterator[Record]:
    for number, raw in enumerate(file, start=1):
        text, fault = _decode(raw)
        if fault:
            yield Record(number, None, fault)
        elif text.strip():
            yield _json_record(number, text)


def _json_record(number: int, text: str) -> Record:
    try:
        fields = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        return Record(number, None, f"not JSON ({error}): {_shorten(text)}")
    if not isinstance(fields, dict):
        return Record(number, None, f'not a JSON object such as {{"prompt": "..."}}: {_shorten(text)}')
    return Record(number, fields)


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
        lines = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
        table = csv.DictReader(lines, delimiter=delimiter)
        while True:
            try:
                fields = next(table)
            except StopIteration:
                return
            except csv.Error as error:
                yield Record(table.line_num, None, f"not a table row ({error})")
                continue
            yield _separated_record(table.line_num, fields)

    return read


def _separated_record(number: int, fields: dict[str, Any]) -> Record:
    extra = fields.pop(None, None)
    if extra:
        return Record(number, None, f"{len(extra)} more fields than the heading has, from {_shorten(extra[0])}")
    try:
        "".join(value for value in fields.values() if value).encode("utf-8")
    except UnicodeEncodeError:
        return Record(number, None, "not UTF-8: save the file in UTF-8")
    return Record(number, {name: value for name, value in fields.items() if value not in (None, "")})


def _parquet(file: BinaryIO) -> Iterator[Record]:
    try:
        table = pq.ParquetFile(file)
    except pa.ArrowInvalid as error:
        raise InputError(f"the prompts file is not Parquet: {error}.") from error
    # Binary columns cannot be carried as plain values; a picture there would be, as text, of no use.
    columns = [field.name for field in table.schema_arrow if not _holds_bytes(field.type)]
    left_out = sorted(set(table.schema_arrow.names) - set(columns))
    if left_out:
        log.warning("Not read from the prompts file: %s (binary).", ", ".join(left_out))
    number = 0
    for batch in table.iter_batches(batch_size=1024, columns=columns):
        for fields in batch.to_pylist():
            number += 1
            yield Record(number, {name: value for name, value in fields.items() if value is not None})


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_nested(kind):
        return any(_holds_bytes(kind.field(index).type) for index in range(kind.num_fields))
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)


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
