"""Reader of .xz files with a limit on the decoder's memory, in the place of fsspec's.

A file of a few kilobytes can ask for a dictionary of 4 GiB, which fsspec's reader (lzma.LZMAFile, without any limit)
allocates and fills. xz's own highest preset needs 65 MiB.
"""

from __future__ import annotations

import io
import lzma
from typing import Any, BinaryIO

from fsspec.compression import register_compression

MAX_DECODER_BYTES = 256 * 2**20

_BLOCK = 2**16


class XzFile(io.RawIOBase):
    """Decompresses one or several streams. Raises LZMAError for a damaged one, or one that needs too much memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decoder = self._new_decoder()
        self._pending = b""

    @staticmethod
    def _new_decoder() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_DECODER_BYTES)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._decompress(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def _decompress(self, size: int) -> bytes:
        while True:
            if self._decoder.eof:
                # Streams may be joined, with zeros between them.
                self._pending = (self._decoder.unused_data or self._pending).lstrip(b"\0")
                while not self._pending:
                    block = self._file.read(_BLOCK)
                    if not block:
                        return b""
                    self._pending = block.lstrip(b"\0")
                self._decoder = self._new_decoder()
            elif self._decoder.needs_input and not self._pending:
                self._pending = self._file.read(_BLOCK)
                if not self._pending:
                    raise EOFError("Compressed file ended before the end-of-stream marker was reached")
            given, self._pending = self._pending, b""
            if content := self._decoder.decompress(given, size):
                return content


def _open(file: BinaryIO, mode: str = "rb", **options: Any) -> io.BufferedReader:
    if not mode.startswith("r"):
        raise ValueError("prompts are read, not written")
    return io.BufferedReader(XzFile(file), 2**16)


def register() -> None:
    """Make fsspec open .xz files with this reader."""
    register_compression("xz", _open, "xz", force=True)
