"""Writer and readers of the dataset's Parquet files."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from imagemill.data.dataset.arrow_table import table_of
from imagemill.data.dataset.carried.arrow_kinds import IMAGE
from imagemill.data.dataset.files.shard_files import CommittedFile
from imagemill.data.dataset.files.table_file import ROW_GROUP_BYTES, TableFile
from imagemill.data.dataset.schema import IMAGES, DatasetSchema
from imagemill.data.errors import OutputError
from imagemill.data.images.codec import Encoding
from imagemill.data.messages import shown_path
from imagemill.data.storage.locations import Location, arrow_source

_LARGE = (IMAGE, IMAGES, pa.binary())
"""Types of the columns that make a row group large."""


def write_rows(path: Path, schema: DatasetSchema, rows: Iterable[Mapping[str, Any]]) -> CommittedFile:
    """Write a whole, synced Parquet file from rows (column name -> value; images as {"bytes", "path"})."""
    arrow = schema.arrow()
    with TableFile(path, arrow) as file:
        for group in _row_groups(rows, [field.name for field in arrow if field.type in _LARGE]):
            file.write(table_of(group, arrow))
        return file.finish()


def write_tables(path: Path, schema: pa.Schema, groups: Iterable[pa.Table]) -> CommittedFile:
    """Write a whole, synced Parquet file from tables with this schema, each a row group."""
    with TableFile(path, schema) as file:
        for group in groups:
            file.write(group)
        return file.finish()


def _row_groups(rows: Iterable[Mapping[str, Any]], large: Sequence[str]) -> Iterator[list[Mapping[str, Any]]]:
    group: list[Mapping[str, Any]] = []
    size = 0
    for row in rows:
        group.append(row)
        size += sum(_size(row.get(name)) for name in large)
        if size >= ROW_GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _size(value: Any) -> int:
    """Bytes of an image, of several, or of a binary value."""
    if isinstance(value, Mapping):
        return _size(value["bytes"])
    return sum(map(_size, value)) if isinstance(value, list) else len(value or b"")


def count_rows(path: Location) -> int | None:
    """Rows of a Parquet file; None if it is not a whole one."""
    try:
        return pq.read_metadata(arrow_source(path)).num_rows
    except (pa.ArrowInvalid, OSError):
        return None


def read_columns(path: Location, columns: Sequence[str]) -> Iterator[dict[str, list[Any]]]:
    """A committed file's columns, a few thousand rows at a time; without columns that the file does not have."""
    file = pq.ParquetFile(arrow_source(path))
    if "row_key" not in file.schema_arrow.names:
        raise _foreign(path)
    present = [name for name in columns if name in file.schema_arrow.names]
    for batch in file.iter_batches(batch_size=8192, columns=present):
        yield batch.to_pydict()


def read_presence(path: Location, image: str) -> list[bool]:
    """True if each row of a committed file has an image in the column ``image``."""
    file = pq.ParquetFile(arrow_source(path))
    batches = file.iter_batches(batch_size=8192, columns=[f"{image}.path"])
    return [is_valid for batch in batches for is_valid in batch.column(0).is_valid().to_pylist()]


def read_encoding(path: Location) -> Encoding:
    """The encoding of a committed file's images."""
    try:
        return Encoding(**json.loads(encoding_of(pq.read_schema(arrow_source(path)), path)))
    except (ValueError, TypeError) as error:
        raise _foreign(path) from error


def encoding_of(schema: pa.Schema, path: Location) -> bytes:
    """The same as a committed file's metadata have it. Raises OutputError for a file that imagemill has not written."""
    try:
        encoding: bytes = (schema.metadata or {})[b"imagemill"]
    except KeyError as error:
        raise _foreign(path) from error
    return encoding


def _foreign(path: Location) -> OutputError:
    return OutputError(
        f"{shown_path(path)} is a Parquet file that imagemill has not written: take it out of the dataset's folder. "
        "Nothing was touched."
    )


def read_image_rows(path: Location, image: str, rows: Sequence[int]) -> Iterator[tuple[bytes | None, dict[str, Any]]]:
    """Images of the column ``image`` in these rows (ascending numbers) of a committed file, with their other columns.

    None for a row without such an image, for instance without a mask.
    """
    file = pq.ParquetFile(arrow_source(path))
    others = [name for name in file.schema_arrow.names if file.schema_arrow.field(name).type != IMAGE]
    first = 0
    for group in range(file.num_row_groups):
        after = first + file.metadata.row_group(group).num_rows
        in_group = [row - first for row in rows if first <= row < after]
        if in_group:
            for fields in file.read_row_group(group, columns=[image, *others]).take(in_group).to_pylist():
                yield (fields.pop(image) or {}).get("bytes"), fields
        first = after


def merge_files(
    sources: Sequence[Location], target: Path, schema: pa.Schema, without: Collection[str] = ()
) -> CommittedFile:
    """Write a whole, synced file with the rows of committed files, except those with the row keys ``without``.

    Columns that a source lacks are null; columns that the schema lacks are dropped. Memory: two row groups.
    """
    with TableFile(target, schema) as file:
        for table in _row_groups_of(sources, schema, without):
            file.add(table)
        return file.finish()


def _row_groups_of(sources: Sequence[Location], schema: pa.Schema, without: Collection[str]) -> Iterator[pa.Table]:
    for source in sources:
        file = pq.ParquetFile(arrow_source(source))
        for number in range(file.num_row_groups):
            table = file.read_row_group(number)
            if without:
                table = table.filter(pa.array(key not in without for key in table["row_key"].to_pylist()))
            columns = [as_field(table, field, field.name) for field in schema]
            yield pa.Table.from_arrays(columns, schema=schema)


def as_field(table: pa.Table, field: pa.Field, name: str | None) -> pa.ChunkedArray | pa.Array:
    """The table's column ``name`` in the type of a field; nulls if there is none of that name."""
    if name not in table.column_names:
        return pa.nulls(table.num_rows, field.type)
    column = table[name]
    # A cast, even to the same type, imports pyarrow.compute, which takes 0.2 s.
    return column if column.type == field.type else column.cast(field.type)


def read_schema(path: Location) -> pa.Schema:
    """The Arrow schema of a committed file, metadata included."""
    return pq.read_schema(arrow_source(path))
