"""Reader of prompts in Arrow files: Feather, the files of `datasets` on disk, and the stream format.

Each message is checked before it is unpacked: a few kilobytes could unpack to any size, since pyarrow allocates what a
compressed buffer says that it unpacks to, and offers no limit.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa

from imagemill.data.prompts.formats.line_formats import BrokenFile, Record
from imagemill.data.prompts.formats.parquet_format import (
    MAX_UNPACKED_BYTES,
    MAX_UNPACKED_RATIO,
    ImageFields,
    no_images,
    read_batches,
)

_MARK = b"ARROW1"
_BLOCK = 2**16

MAX_BATCH_BYTES = 2 * 2**30

# Numbers of fields in the format's flatbuffers (Message.fbs), and of its kinds of messages.
_HEADER_TYPE, _HEADER = 1, 2
_DICTIONARY, _RECORD_BATCH = 2, 3
_DICTIONARY_DATA = 1
_BUFFERS, _COMPRESSION = 2, 3


def read_arrow(file: BinaryIO, images: ImageFields = no_images) -> Iterator[Record]:
    """Yield each row without binary columns, except those that ``images`` chooses."""
    head = file.read(8)
    if head.startswith(b"FEA1"):
        raise BrokenFile("is Feather of version 1: save it again as version 2, or as Parquet")
    # A file is a stream between two marks, and a stream needs no seeking: it may be compressed, or far away.
    is_file = head.startswith(_MARK)
    messages = _Messages(b"" if is_file else head, file)
    with pa.ipc.open_stream(pa.PythonFile(messages, mode="r")) as stream:
        yield from read_batches(stream.schema, lambda names, size: _batches(stream, names, size), images)
    if is_file and not _ends_with_mark(file):
        raise EOFError("the mark at its end is missing")


def _batches(stream: pa.RecordBatchReader, names: list[str], size: int) -> Iterator[pa.RecordBatch]:
    for batch in stream:
        chosen = batch.select(names)
        for column in chosen.columns:
            _check_column(column)
        for start in range(0, chosen.num_rows, size):
            yield chosen.slice(start, size)


def _check_column(column: pa.Array) -> None:
    """Raise ArrowInvalid for offsets that lead out of the column: pyarrow would follow them, into any memory."""
    # Not as texts: one that is not UTF-8 costs its own row.
    if pa.types.is_string(column.type):
        column = column.view(pa.binary())
    elif pa.types.is_large_string(column.type):
        column = column.view(pa.large_binary())
    column.validate(full=True)


def _ends_with_mark(file: BinaryIO) -> bool:
    end = b""
    while block := file.read(_BLOCK):
        end = (end + block)[-len(_MARK) :]
    return end == _MARK


class _Messages(io.RawIOBase):
    """The stream again, message by message. ``head``: bytes that were read from the file. Raises BrokenFile."""

    def __init__(self, head: bytes, file: BinaryIO) -> None:
        self._messages = pa.ipc.MessageReader.open_stream(pa.PythonFile(_Bounded(head, file), mode="r"))
        self._pending = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes of one message; none at the end."""
        if not self._pending:
            try:
                message = self._messages.read_next_message()
            except StopIteration:
                return b""
            try:
                _check_message(message.metadata.to_pybytes(), message.body)
            except (struct.error, IndexError) as error:
                raise BrokenFile(f"has a damaged message ({error})") from error
            self._pending = message.serialize().to_pybytes()
        size = len(self._pending) if size < 0 else size
        given, self._pending = self._pending[:size], self._pending[size:]
        return given


class _Bounded(io.RawIOBase):
    """A file whose first bytes, ``head``, were read before."""

    def __init__(self, head: bytes, file: BinaryIO) -> None:
        self._head = head
        self._file = file

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if size > MAX_BATCH_BYTES:
            raise BrokenFile(f"has a batch of over {MAX_BATCH_BYTES // 2**30} GiB: save it with smaller ones")
        head, self._head = self._head[:size], self._head[size:]
        return head or self._file.read(size)


def _check_message(metadata: bytes, body: pa.Buffer | None) -> None:
    """Raise BrokenFile if a buffer of the message unpacks to far more than its size."""
    message = _Table(metadata, struct.unpack_from("<I", metadata)[0])
    kind, batch = message.byte(_HEADER_TYPE), message.table(_HEADER)
    if kind == _DICTIONARY and batch is not None:
        batch = batch.table(_DICTIONARY_DATA)
    if kind not in (_DICTIONARY, _RECORD_BATCH) or batch is None or batch.table(_COMPRESSION) is None or body is None:
        return
    content = memoryview(body)
    for offset, length in batch.pairs(_BUFFERS):
        unpacked = struct.unpack_from("<q", content, offset)[0] if length >= 8 else 0
        if unpacked > MAX_UNPACKED_BYTES and unpacked > MAX_UNPACKED_RATIO * length:
            raise BrokenFile(f"has a column that unpacks from {length / 2**20:,.0f} MiB to {unpacked / 2**20:,.0f} MiB")


class _Table:
    """A table of a flatbuffer, at a position in its bytes."""

    def __init__(self, content: bytes, at: int) -> None:
        self._content = content
        self._at = at
        self._fields = at - self._number("<i", at)

    def _number(self, kind: str, at: int) -> int:
        return struct.unpack_from(kind, self._content, at)[0]

    def _position(self, field: int) -> int | None:
        """Place of a field; None if the table does not have it."""
        slot = 4 + 2 * field
        offset = self._number("<H", self._fields + slot) if slot < self._number("<H", self._fields) else 0
        return self._at + offset if offset else None

    def byte(self, field: int) -> int:
        at = self._position(field)
        return self._content[at] if at is not None else 0

    def table(self, field: int) -> _Table | None:
        at = self._position(field)
        return _Table(self._content, at + self._number("<I", at)) if at is not None else None

    def pairs(self, field: int) -> list[tuple[int, int]]:
        """A list of structs of two 64-bit numbers."""
        at = self._position(field)
        if at is None:
            return []
        start = at + self._number("<I", at)
        count = self._number("<I", start)
        return list(struct.iter_unpack("<qq", self._content[start + 4 : start + 4 + 16 * count]))
