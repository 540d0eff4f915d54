"""The dataset's Parquet files: how a shard is written, and how finished rows are found again."""

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
from imagemill.data.dataset.schema import IMAGE, IMAGES, DatasetSchema
from imagemill.data.dataset.shard_files import CommittedFile
from imagemill.data.images.codec import Encoding
from imagemill.data.storage.locations import Location, arrow_source

ROW_GROUP_BYTES = 100 * 2**20
"""Row groups are closed near this size: the Hub's viewer recommends 100 to 300 MB and refuses more than 286 MiB."""


def write_rows(path: Path, schema: DatasetSchema, rows: Iterable[Mapping[str, Any]]) -> CommittedFile:
    """Write a whole, synced Parquet file from rows (column name -> value; images as {"bytes", "path"})."""
    arrow = schema.arrow()
    with open(path, "wb") as file:
        sink = _HashingFile(file)
        with pq.ParquetWriter(sink, arrow, **_writer_options(arrow)) as writer:
            count = 0
            for group in _row_groups(rows, (*schema.image_columns, *schema.guides)):
                writer.write_table(table_of(group, arrow))
                count += len(group)
        file.flush()
        os.fsync(file.fileno())
    return CommittedFile(path.name, count, sink.size, sink.sha256.hexdigest())


def _writer_options(schema: pa.Schema) -> dict[str, Any]:
    images = {field.name: field.type for field in schema if field.type in (IMAGE, IMAGES)}
    leaves = [leaf for name in schema.names for leaf in _leaves(name, images.get(name))]
    return {
        # Images are compressed already, and no two are alike.
        "compression": {leaf: "none" if leaf.endswith(".bytes") else "zstd" for leaf in leaves},
        "use_dictionary": [name for name in schema.names if name not in images],
        "write_page_index": True,
    }


def _leaves(name: str, image: pa.DataType | None) -> list[str]:
    if image is None:
        return [name]
    inside = f"{name}.list.element" if image == IMAGES else name
    return [f"{inside}.bytes", f"{inside}.path"]


def _row_groups(rows: Iterable[Mapping[str, Any]], image_columns: Sequence[str]) -> Iterator[list[Mapping[str, Any]]]:
    group: list[Mapping[str, Any]] = []
    size = 0
    for row in rows:
        group.append(row)
        size += sum(len(row[name]["bytes"]) for name in image_columns)
        size += sum(len(image["bytes"]) for image in row.get("input_images") or ())
        if size >= ROW_GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


class _HashingFile(io.RawIOBase):
    """Hashes what is written on its way to the file, which is then never read again for it."""

    def __init__(self, file: io.BufferedWriter) -> None:
        self.file = file
        self.sha256 = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def emit(self) -> int:
        return self.size

    def write(self, content: Any) -> int:
        self.sha256.update(content)
        self.size += memoryview(content).nbytes
        return self.file.write(content)


def count_rows(path: Location) -> int | None:
    """Rows of a Parquet file; None where it is not a whole one."""
    try:
        return pq.read_metadata(arrow_source(path)).num_rows
    except (pa.ArrowInvalid, OSError):
        return None


def read_columns(path: Location, columns: Sequence[str]) -> Iterator[dict[str, list[Any]]]:
    """A committed file's columns, a few thousand rows at a time; columns that it does not have are left out."""
    file = pq.ParquetFile(arrow_source(path))
    present = [name for name in columns if name in file.schema_arrow.names]
    for batch in file.iter_batches(batch_size=8192, columns=present):
        yield batch.to_pydict()


def read_encoding(path: Location) -> Encoding:
    """How a committed file's images are encoded."""
    return Encoding(**json.loads(pq.read_schema(arrow_source(path)).metadata[b"imagemill"]))


def read_image_rows(path: Location, image: str, rows: Sequence[int]) -> Iterator[tuple[bytes | None, dict[str, Any]]]:
    """A committed file's images in the column ``image``, with the other columns, at these ascending row numbers.

    None where a row has no such image, as one without a mask.
    """
    file = pq.ParquetFile(arrow_source(path))
    others = [name for name in file.schema_arrow.names if file.schema_arrow.field(name).type != IMAGE]
    wanted, first = list(rows), 0
    for group in range(file.num_row_groups):
        after = first + file.metadata.row_group(group).num_rows
        here = [row - first for row in wanted if first <= row < after]
        if here:
            for fields in file.read_row_group(group, columns=[image, *others]).take(here).to_pylist():
                yield (fields.pop(image) or {}).get("bytes"), fields
        first = after


def merge_files(
    sources: Sequence[Location], target: Path, schema: pa.Schema, without: Collection[str] = ()
) -> CommittedFile:
    """Write a whole, synced file with the rows of committed files, but for those with these row keys.

    Columns that a source lacks are null, columns that the schema lacks go. Memory: one row group of each kind.
    """
    with open(target, "wb") as out:
        sink = _HashingFile(out)
        with pq.ParquetWriter(sink, schema, **_writer_options(schema)) as writer:
            count = 0
            for group in _grouped(_row_groups_of(sources, schema, without)):
                writer.write_table(group)
                count += group.num_rows
        out.flush()
        os.fsync(out.fileno())
    return CommittedFile(target.name, count, sink.size, sink.sha256.hexdigest())


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
    # A cast, even to the same type, loads pyarrow.compute, which takes a fifth of a second.
    return column if column.type == field.type else column.cast(field.type)


def _grouped(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Small row groups put together, up to about ROW_GROUP_BYTES."""
    waiting: list[pa.Table] = []
    size = 0
    for table in tables:
        if waiting and size + table.nbytes > ROW_GROUP_BYTES:
            yield pa.concat_tables(waiting).combine_chunks()
            waiting, size = [], 0
        waiting.append(table)
        size += table.nbytes
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()


def read_schema(path: Location) -> pa.Schema:
    """The Arrow schema of a committed file, metadata included."""
    return pq.read_schema(arrow_source(path))
