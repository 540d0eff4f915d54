"""Reader of prompts in Parquet; a bad row affects no other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import date, time
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from imagemill.data.prompts.field_names import list_fields
from imagemill.data.prompts.line_formats import Record
from imagemill.data.prompts.table_formats import heading_of

log = logging.getLogger("imagemill")

MAX_UNPACKED_BYTES = 512 * 2**20
"""Of a column of a row group, if it is packed tighter than MAX_UNPACKED_RATIO; images hardly shrink at all."""

MAX_UNPACKED_RATIO = 50


def read_parquet(file: BinaryIO, images: Collection[str] = ()) -> Iterator[Record]:
    """Yield each row without binary columns, except those in ``images``, whose case is ignored."""
    table = pq.ParquetFile(file)
    _check_unpacked_size(table.metadata)
    yield from read_batches(
        table.schema_arrow, lambda names, size: table.iter_batches(batch_size=size, columns=names), images
    )


def read_batches(
    schema: pa.Schema, batches: Callable[[list[str], int], Iterable[pa.RecordBatch]], images: Collection[str] = ()
) -> Iterator[Record]:
    """Yield each row of a table. ``batches``: its batches with these columns, of at most so many rows."""
    image_names = {name.lower() for name in images}
    # Bytes cannot be carried as plain values, and an image as text would be useless.
    binary = {field.name for field in schema if _has_bytes(field.type)}
    embedded = {name for name in binary if name.lower() in image_names}
    columns = [field for field in schema if field.name not in binary - embedded]
    skipped = sorted(set(schema.names) - {field.name for field in columns})
    if skipped:
        log.warning("Not read from the prompts file: %s (binary).", list_fields(skipped, from_heading=False))
    names = heading_of([field.name for field in columns])
    converted = {field.name for field in columns if field.name not in embedded and not _is_plain(field.type)}
    number = 0
    for batch in batches(names, 16 if embedded else 1024):
        for fields in _pylist(batch):
            number += 1
            if fields is None:
                yield Record(number, None, "not UTF-8: a text in this row is damaged")
            else:
                plain = {name: _plain(value) if name in converted else value for name, value in fields.items()}
                yield Record(number, {name: value for name, value in plain.items() if value is not None})


def _check_unpacked_size(metadata: pq.FileMetaData) -> None:
    """Raise OSError if a part of the file unpacks to far more than its size: pyarrow unpacks it as a whole."""
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for number in range(row_group.num_columns):
            column = row_group.column(number)
            size, packed = column.total_uncompressed_size, column.total_compressed_size
            if size > MAX_UNPACKED_BYTES and size > MAX_UNPACKED_RATIO * packed:
                raise OSError(
                    f"the column {number + 1} of its row group {group + 1} unpacks from {packed / 2**20:,.0f} MiB to "
                    f"{size / 2**20:,.0f} MiB"
                )


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
