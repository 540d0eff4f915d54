"""Writer and readers of the dataset's Parquet files."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from imagemill.data.dataset.arrow_table import table_of
from imagemill.data.dataset.carried.arrow_kinds import IMAGE
from imagemill.data.dataset.files.shard_files import CommittedFile
from imagemill.data.dataset.schema import IMAGES, DatasetSchema
from imagemill.data.errors import OutputError
from imagemill.data.images.codec import Encoding
from imagemill.data.messages import shown_path
from imagemill.data.storage.locations import Location, arrow_source

ROW_GROUP_BYTES = 100 * 2**20
"""Approximate size of a row group: the Hub's viewer recommends 100 to 300 MB and refuses more than 286 MiB."""

_LARGE = (IMAGE, IMAGES, pa.binary())
"""Types of the columns that make a row group large."""


def write_rows(path: Path, schema: DatasetSchema, rows: Iterable[Mapping[str, Any]]) -> CommittedFile:
    """Write a whole, synced Parquet file from rows (column name -> value; images as {"bytes", "path"})."""
    arrow = schema.arrow()
    large = [field.name for field in arrow if field.type in _LARGE]
    return write_tables(path, arrow, (table_of(group, arrow) for group in _row_groups(rows, large)))


def write_tables(path: Path, schema: pa.Schema, groups: Iterable[pa.Table]) -> CommittedFile:
    """Write a whole, synced Parquet file from tables with this schema, each a row group."""
    with open(path, "wb") as file:
        sink = _HashingFile(file)
        with pq.ParquetWriter(sink, schema, **_writer_options(schema)) as writer:
            count = 0
            for group in groups:
                writer.write_table(group)
                count += group.num_rows
        file.flush()
        os.fsync(file.fileno())
    return CommittedFile(path.name, count, sink.size, sink.sha256.hexdigest())


def _writer_options(schema: pa.Schema) -> dict[str, Any]:
    leaves = [leaf for field in schema for leaf in _leaves(field.name, field.type)]
    return {
        # Images are compressed already, and no two are equal.
        "compression": {leaf: "none" if leaf.endswith(".bytes") else "zstd" for leaf in leaves},
        "use_dictionary": [field.name for field in schema if field.type not in (IMAGE, IMAGES)],
        "write_page_index": True,
    }


def _leaves(name: str, arrow: pa.DataType) -> list[str]:
    """Paths of the columns that Parquet stores for one of this type."""
    types = pa.types
    if types.is_struct(arrow):
        return [leaf for field in arrow for leaf in _leaves(f"{name}.{field.name}", field.type)]
    if types.is_list(arrow) or types.is_large_list(arrow) or types.is_fixed_size_list(arrow):
        return _leaves(f"{name}.list.element", arrow.value_type)
    return [name]


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


class _HashingFile(io.RawIOBase):
    """Hashes the bytes while they are written, so that the file need not be read for it."""

    def __init__(self, file: io.BufferedWriter) -> None:
        self.file = file
        self.sha256 = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.size

    def write(self, content: Any) -> int:
        self.sha256.update(content)
        self.size += memoryview(content).nbytes
        return self.file.write(content)


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


def read_encoding(path: Location) -> Encoding:
    """The encoding of a committed file's images."""
    try:
        return Encoding(**json.loads((pq.read_schema(arrow_source(path)).metadata or {})[b"imagemill"]))
    except (KeyError, ValueError, TypeError) as error:
        raise _foreign(path) from error


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
    return write_tables(target, schema, _grouped(_row_groups_of(sources, schema, without)))


def _row_groups_of(sources: Sequence[Location], schema: pa.Schema, without: Collection[str]) -> Iterator[pa.Table]:
    for source in sources:
        file = pq.ParquetFile(arrow_source(source))
        for number in range(file.num_row_groups):
            table = file.read_row_group(number)
            if without:
                table = table.filter(pa.array(key not in without for key in table["row_key"].to_pylist()))
            yield pa.Table.from_arrays([_as_field(table, field) for field in schema], schema=schema)


def _as_field(table: pa.Table, field: pa.Field) -> pa.ChunkedArray | pa.Array:
    if field.name not in table.column_names:
        return pa.nulls(table.num_rows, field.type)
    column = table[field.name]
    # A cast, even to the same type, imports pyarrow.compute, which takes 0.2 s.
    return column if column.type == field.type else column.cast(field.type)


def _grouped(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Small row groups joined up to about ROW_GROUP_BYTES."""
    pending: list[pa.Table] = []
    size = 0
    for table in tables:
        if pending and size + table.nbytes > ROW_GROUP_BYTES:
            yield pa.concat_tables(pending).combine_chunks()
            pending, size = [], 0
        pending.append(table)
        size += table.nbytes
    if pending:
        yield pa.concat_tables(pending).combine_chunks()


def read_schema(path: Location) -> pa.Schema:
    """The Arrow schema of a committed file, metadata included."""
    return pq.read_schema(arrow_source(path))
