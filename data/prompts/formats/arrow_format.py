"""Reader of prompts in Arrow files: Feather, the files of `datasets` on disk, and the stream format."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator
from typing import BinaryIO

import pyarrow as pa

from imagemill.data.prompts.formats.broken import BrokenFile
from imagemill.data.prompts.line_formats import Record
from imagemill.data.prompts.parquet_format import read_batches

_MARK = b"ARROW1"
_BLOCK = 2**16


def read_arrow(file: BinaryIO, images: Collection[str] = ()) -> Iterator[Record]:
    """Yield each row without binary columns, except those in ``images``, whose case is ignored."""
    head = file.read(8)
    if head.startswith(b"FEA1"):
        raise BrokenFile("is Feather of version 1: save it again as version 2, or as Parquet")
    # A file is a stream between two marks, and a stream needs no seeking: it may be compressed, or far away.
    is_file = head.startswith(_MARK)
    source = file if is_file else _Joined(head, file)
    with pa.ipc.open_stream(pa.PythonFile(source, mode="r")) as stream:
        yield from read_batches(stream.schema, lambda names, size: _batches(stream, names, size), images)
    if is_file and not _ends_with_mark(file):
        raise EOFError("the mark at its end is missing")


def _batches(stream: pa.RecordBatchReader, names: list[str], size: int) -> Iterator[pa.RecordBatch]:
    for batch in stream:
        for start in range(0, batch.num_rows, size):
            yield batch.select(names).slice(start, size)


def _ends_with_mark(file: BinaryIO) -> bool:
    end = b""
    while block := file.read(_BLOCK):
        end = (end + block)[-len(_MARK) :]
    return end == _MARK


class _Joined(io.RawIOBase):
    """A file, and before it what was read of it already."""

    def __init__(self, head: bytes, file: BinaryIO) -> None:
        self._head = head
        self._file = file

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        head, self._head = self._head[:size], self._head[size:]
        return head or self._file.read(size)
