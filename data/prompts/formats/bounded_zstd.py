"""Reader of .zst files by pyarrow, in the place of fsspec's, which wants another package.

Its memory is bounded: a file that asks for a window of over 128 MiB (``zstd --long=28`` and more) is refused.
"""

from __future__ import annotations

import io
from typing import Any, BinaryIO

import pyarrow as pa
from fsspec.compression import register_compression

_MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = b"\x2a\x4d\x18"


class ZstdFile(io.RawIOBase):
    """Decompresses one or several frames. Raises EOFError for a file that is cut short, OSError for a damaged one."""

    def __init__(self, file: BinaryIO) -> None:
        head = file.read(4)
        if head and head != _MAGIC and head[1:] != _SKIPPABLE:
            raise OSError("Not a zstd file")
        self._file = pa.CompressedInputStream(pa.PythonFile(_WithHead(head, file), mode="r"), "zstd")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            content = self._file.read(len(buffer))
        except OSError as error:
            if "truncated" in str(error).lower():
                raise EOFError("Compressed file ended before the end of its last frame") from error
            raise
        buffer[: len(content)] = content
        return len(content)


class _WithHead(io.RawIOBase):
    """A file whose first bytes, ``head``, were read before."""

    def __init__(self, head: bytes, file: BinaryIO) -> None:
        self._head = head
        self._file = file

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        head, self._head = self._head, b""
        return head or self._file.read(size)


def _open(file: BinaryIO, mode: str = "rb", **options: Any) -> io.BufferedReader:
    if not mode.startswith("r"):
        raise ValueError("prompts are read, not written")
    return io.BufferedReader(ZstdFile(file), 2**16)


def register() -> None:
    """Make fsspec open .zst files with this reader."""
    register_compression("zstd", _open, "zst", force=True)
