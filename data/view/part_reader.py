"""Reader of parts: footers, columns and rows, without the images unless they are requested.

A file that a build has replaced meanwhile is Replaced: the caller lists the files again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from imagemill.data.dataset.carried.arrow_kinds import IMAGE
from imagemill.data.dataset.schema import IMAGES
from imagemill.data.errors import OutputError
from imagemill.data.messages import shown_path
from imagemill.data.storage.locations import arrow_source
from imagemill.data.view.image_chunk import ImageChunks
from imagemill.data.view.page_header import BadPage
from imagemill.data.view.parts import Part

MAX_FOOTERS = 64
"""Footers that are remembered."""

BATCH_ROWS = 4096

BUFFER = 2**20
"""Bytes of a column that are read at once, a request each of a remote file."""


class Replaced(Exception):
    """A file is not there any more: a build has replaced it."""


class PartReader:
    """Reads the parts of one dataset. Thread-safe."""

    def __init__(self) -> None:
        self._footers: OrderedDict[tuple[str, str], pq.FileMetaData] = OrderedDict()
        self._chunks = ImageChunks()
        self._lock = Lock()

    def footer(self, part: Part) -> pq.FileMetaData:
        """The metadata of a part. Raises Replaced and OutputError."""
        key = (str(part.path), part.version)
        with self._lock:
            if key in self._footers:
                self._footers.move_to_end(key)
                return self._footers[key]
        with _explained(part), pq.ParquetFile(arrow_source(part.path)) as file:
            footer = file.metadata
        if footer.num_rows != part.rows:
            raise OutputError(
                f"{shown_path(part.path)} has {footer.num_rows:,} rows, and the dataset's manifest or journal says "
                f"{part.rows:,}; `imagemill verify` lists all faults."
            )
        with self._lock:
            self._footers[key] = footer
            while len(self._footers) > MAX_FOOTERS:
                self._footers.popitem(last=False)
        return footer

    def schema(self, part: Part) -> pa.Schema:
        """The Arrow schema of a part. Raises Replaced and OutputError."""
        schema: pa.Schema = self.footer(part).schema.to_arrow_schema()
        return schema

    def batches(self, part: Part, columns: Sequence[str], size: int = 16_384) -> Iterator[pa.Table]:
        """These columns of a part, without those that it does not have. Raises Replaced and OutputError."""
        footer = self.footer(part)
        names = [name for name in columns if name in footer.schema.to_arrow_schema().names]
        if not names:
            # So that the number of its rows is known.
            for first in range(0, footer.num_rows, size):
                numbers = range(min(size, footer.num_rows - first))
                yield pa.table({"\0rows": pa.array(numbers, pa.int32())})
            return
        with _explained(part), pq.ParquetFile(arrow_source(part.path), metadata=footer, buffer_size=BUFFER) as file:
            for group in range(footer.num_row_groups):
                for batch in file.iter_batches(size, row_groups=[group], columns=names):
                    yield pa.Table.from_batches([batch])

    def rows(self, part: Part, rows: Sequence[int], keep: Callable[[pa.Field], bool]) -> list[dict[str, Any]]:
        """The values of some rows (ascending numbers), of the columns that ``keep`` chooses.

        Raises Replaced, OutputError, and IndexError if the part has fewer rows.
        """
        footer = self.footer(part)
        names = [field.name for field in footer.schema.to_arrow_schema() if keep(field)]
        found: list[dict[str, Any]] = []
        first = 0
        # Buffered, so that of a long column only the pages before the last of these rows are read.
        with _explained(part), pq.ParquetFile(arrow_source(part.path), metadata=footer, buffer_size=BUFFER) as file:
            for group in range(footer.num_row_groups):
                after = first + footer.row_group(group).num_rows
                wanted = [row - first for row in rows if first <= row < after]
                if wanted:
                    found += _rows_of(file, group, names, wanted)
                first = after
        if len(found) < len(rows):
            raise IndexError(f"{part.name} has {first} rows")
        return found

    def image(self, part: Part, row: int, column: str, place: int | None = None) -> bytes | None:
        """The image of a row, as its column stores it; None if it has none.

        ``place``: of a column with a list of images, which of them. Raises Replaced, OutputError, and IndexError for
        an unknown row, column or place.
        """
        footer = self.footer(part)
        schema = footer.schema.to_arrow_schema()
        if column not in schema.names or not is_image(schema.field(column)):
            raise IndexError(f"{part.name} has no image column of this name")
        with _explained(part):
            if place is None:
                try:
                    return self._chunks.read(part.path, footer, column, row)
                except BadPage:
                    pass
            (value,) = (fields[column] for fields in self.rows(part, [row], lambda field: field.name == column))
            if isinstance(value, list):
                value = value[place or 0]
            return (value or {}).get("bytes")


def is_image(field: pa.Field) -> bool:
    """True if a column holds images, or lists of images."""
    return field.type in (IMAGE, IMAGES)


def _rows_of(file: pq.ParquetFile, group: int, names: list[str], wanted: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Rows of one row group, read as far as the last of them."""
    first = 0
    for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=names):
        for row in wanted:
            if first <= row < first + batch.num_rows:
                # Slices, since take and pa.array import pandas where it is installed, which takes a second.
                yield from batch.slice(row - first, 1).to_pylist()
        first += batch.num_rows
        if first > wanted[-1]:
            return


@contextmanager
def _explained(part: Part) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise Replaced(part.name) from error
    except IndexError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise OutputError(
            f"{shown_path(part.path)} cannot be read ({reason}); `imagemill verify` lists all faults."
        ) from error
