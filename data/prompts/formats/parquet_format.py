"""Reader of prompts in Parquet; a bad row affects no other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from imagemill.data.errors import one_line
from imagemill.data.plain_values import plain, time_text
from imagemill.data.prompts.field_names import list_fields
from imagemill.data.prompts.formats.line_formats import Record
from imagemill.data.prompts.formats.table_formats import BadHeading, heading_of

log = logging.getLogger("imagemill")

MAX_UNPACKED_BYTES = 512 * 2**20
"""Of a column of a row group, if it is packed tighter than MAX_UNPACKED_RATIO; images hardly shrink at all."""

MAX_UNPACKED_RATIO = 50


ImageFields = Callable[[Collection[str]], Collection[str]]
"""All fields of a file -> those that the recipe's rows have images in."""


def no_images(fields: Collection[str]) -> Collection[str]:
    """The ImageFields of a recipe that reads no image."""
    return ()


def read_parquet(file: BinaryIO, images: ImageFields = no_images) -> Iterator[Record]:
    """Yield each row without binary columns, except those that ``images`` chooses."""
    table = pq.ParquetFile(file)
    _check_unpacked_size(table.metadata)
    yield from read_batches(
        table.schema_arrow, lambda names, size: table.iter_batches(batch_size=size, columns=names), images
    )


def read_batches(
    schema: pa.Schema, batches: Callable[[list[str], int], Iterable[pa.RecordBatch]], images: ImageFields = no_images
) -> Iterator[Record]:
    """Yield each row of a table. ``batches``: columns and a size -> batches of at most that many rows."""
    try:
        all_names = schema.names
    except UnicodeDecodeError as error:
        raise BadHeading("is not UTF-8: a column's name is damaged") from error
    # Bytes cannot be carried as plain values, and an image as text would be useless.
    binary = {field.name for field in schema if _has_bytes(field.type)}
    embedded = binary.intersection(images(all_names))
    columns = [field for field in schema if field.name not in binary - embedded]
    skipped = sorted(set(all_names) - {field.name for field in columns})
    if skipped:
        log.warning("Not read from the prompts file: %s (binary).", list_fields(skipped, from_heading=False))
    names = heading_of([field.name for field in columns])
    types = {field.name: field.type for field in columns}
    converted = {name for name, kind in types.items() if name not in embedded and not _is_plain(kind)}
    number, heading = 0, tuple(names)
    fine_times = [name for name, kind in types.items() if kind == pa.time64("ns")]
    for batch in batches(names, 16 if embedded else 1024):
        for fields in _pylist(_with_time_texts(batch, fine_times)):
            number += 1
            if isinstance(fields, str):
                yield Record(number, None, fields)
            else:
                values = {
                    name: plain(value, non_finite=float) if name in converted else value
                    for name, value in fields.items()
                }
                known = {name: value for name, value in values.items() if value is not None}
                yield Record(number, known, heading=heading, types=types)


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


def _pylist(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | str]:
    """The rows as dicts, or why a row has none: Parquet rules out neither invalid UTF-8 nor any date."""
    try:
        yield from batch.to_pylist()
    except (ValueError, OverflowError) as error:
        if batch.num_rows > 1:
            for row in range(batch.num_rows):
                yield from _pylist(batch.slice(row, 1))
        elif isinstance(error, UnicodeDecodeError):
            yield "not UTF-8: a text in this row is damaged"
        else:
            yield f"a value of this row cannot be read ({one_line(error)})"


def _with_time_texts(batch: pa.RecordBatch, names: Sequence[str]) -> pa.RecordBatch:
    """The batch with these times as text: Python's own time has no nanoseconds."""
    for name in names:
        nanos = batch.column(name).cast(pa.int64()).to_pylist()
        texts = pa.array([None if value is None else time_text(value) for value in nanos], pa.string())
        batch = batch.set_column(batch.schema.get_field_index(name), name, texts)
    return batch


def _is_plain(kind: pa.DataType) -> bool:
    """True if the type's values are JSON values already: null, booleans, numbers, texts, lists and objects."""
    types = pa.types
    if types.is_dictionary(kind):
        return _is_plain(kind.value_type)
    if types.is_nested(kind) and not types.is_map(kind):
        return all(_is_plain(kind.field(index).type) for index in range(kind.num_fields))
    numbers = types.is_integer(kind) or types.is_floating(kind)
    texts = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    return numbers or texts or types.is_boolean(kind) or types.is_null(kind)


def _has_bytes(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.BaseExtensionType) and not isinstance(kind, pa.UuidType):
        return _has_bytes(kind.storage_type)
    if pa.types.is_nested(kind):
        return any(_has_bytes(kind.field(index).type) for index in range(kind.num_fields))
    types = pa.types
    variable = types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind)
    return variable or types.is_fixed_size_binary(kind)
