"""Writer of one Parquet file, table by table: hashed while it is written, whole and synced when it is closed."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from imagemill.data.dataset.carried.arrow_kinds import IMAGE
from imagemill.data.dataset.files.shard_files import CommittedFile
from imagemill.data.dataset.schema import IMAGES

ROW_GROUP_BYTES = 100 * 2**20
"""Approximate size of a row group: the Hub's viewer recommends 100 to 300 MB and refuses more than 286 MiB."""

BATCH_ROWS = 16
"""Rows between two checks of a page's size. With Arrow's 1,024 a page has all images of a row group, copied at once."""


class TableFile:
    """A file while it is written; a context manager. Memory: two row groups."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        self._file = open(path, "wb")  # noqa: SIM115 - closed with this object
        self._sink = _HashingFile(self._file)
        self._writer = pq.ParquetWriter(self._sink, schema, **_writer_options(schema))
        self._pending: list[pa.Table] = []
        self._pending_bytes = 0
        self._rows = 0

    def __enter__(self) -> TableFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # After an error too: an open writer would complete the file when it is collected, whenever that is.
        try:
            self._writer.close()
        finally:
            self._file.close()

    @property
    def size(self) -> int:
        """Bytes so far, those included that are still to be written."""
        return self._sink.size + self._pending_bytes

    def write(self, table: pa.Table) -> None:
        """Write a table as a row group."""
        self._writer.write_table(table)
        self._rows += table.num_rows

    def add(self, table: pa.Table) -> None:
        """Write a table, joined with its neighbours up to about ROW_GROUP_BYTES."""
        if self._pending and self._pending_bytes + table.nbytes > ROW_GROUP_BYTES:
            self._write_pending()
        self._pending.append(table)
        self._pending_bytes += table.nbytes

    def finish(self) -> CommittedFile:
        """Write what is left; returns the record of the file, which is on disk then."""
        self._write_pending()
        self._writer.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        return CommittedFile(self.path.name, self._rows, self._sink.size, self._sink.sha256.hexdigest())

    def _write_pending(self) -> None:
        if self._pending:
            self.write(pa.concat_tables(self._pending).combine_chunks())
        self._pending, self._pending_bytes = [], 0


def _writer_options(schema: pa.Schema) -> dict[str, Any]:
    leaves = [leaf for field in schema for leaf in _leaves(field.name, field.type)]
    return {
        # Images are compressed already, and no two are equal.
        "compression": {leaf: "none" if leaf.endswith(".bytes") else "zstd" for leaf in leaves},
        "use_dictionary": [field.name for field in schema if field.type not in (IMAGE, IMAGES)],
        "write_page_index": True,
        "write_batch_size": BATCH_ROWS,
    }


def _leaves(name: str, arrow: pa.DataType) -> list[str]:
    """Paths of the columns that Parquet stores for one of this type."""
    types = pa.types
    if types.is_struct(arrow):
        return [leaf for field in arrow for leaf in _leaves(f"{name}.{field.name}", field.type)]
    if types.is_list(arrow) or types.is_large_list(arrow) or types.is_fixed_size_list(arrow):
        return _leaves(f"{name}.list.element", arrow.value_type)
    return [name]


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
