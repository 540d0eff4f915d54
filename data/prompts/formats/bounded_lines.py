"""Reader of a prompts file's lines in bounded memory: 26 MiB of gzip can hold one line of 6 GiB."""

from __future__ import annotations

from collections.abc import Iterator

from imagemill.data.prompts.formats.text_file import Source

MAX_LINE_BYTES = 64 * 2**20
"""Longest line; what is longer is not kept, and counts as a bad line."""

TOO_LONG = f"the line has over {MAX_LINE_BYTES // 2**20} MiB"

_BLOCK = 2**20


def bounded_lines(file: Source, old_mac: bool = False) -> Iterator[bytes | None]:
    """Yield each line with its end, or None for one that is too long.

    ``old_mac``: a carriage return alone ends a line too, as CSV readers have it.
    """
    parts: list[bytes] = []
    size = 0
    for piece in _pieces(file, old_mac):
        size += len(piece)
        if size <= MAX_LINE_BYTES:
            parts.append(piece)
        else:
            parts.clear()
        if piece.endswith(b"\n") or (old_mac and piece.endswith(b"\r")):
            yield b"".join(parts) if size <= MAX_LINE_BYTES else None
            parts, size = [], 0
    if size:
        yield b"".join(parts) if size <= MAX_LINE_BYTES else None


def _pieces(file: Source, old_mac: bool) -> Iterator[bytes]:
    """Lines with their ends, and parts of lines that go beyond a block."""
    held = b""
    # Not readline: not every file of fsspec's takes a limit there.
    while block := file.read(_BLOCK):
        if old_mac:
            block, held = held + block, b""
            if block.endswith(b"\r"):
                # A line feed may follow in the next block.
                block, held = block[:-1], b"\r"
            yield from block.splitlines(keepends=True)
        else:
            *whole, rest = block.split(b"\n")
            yield from (line + b"\n" for line in whole)
            if rest:
                yield rest
    if held:
        yield held
