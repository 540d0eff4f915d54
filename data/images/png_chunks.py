"""Filter for PNG chunks that Pillow refuses for their size: texts, such as a ComfyUI workflow, and colour profiles.

Pixels need no text, so a text that is too large is skipped, and is never unpacked further than Pillow's own limit.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import BinaryIO

from PIL import PngImagePlugin

from imagemill.data.images.colour import MAX_PROFILE_BYTES

SIGNATURE = b"\x89PNG\r\n\x1a\n"

UNUSABLE = b"too large"
"""In place of a profile that unpacks to more than any real one: it counts as damaged."""


def skip_large_chunks(file: BinaryIO, header_only: bool) -> tuple[BinaryIO, bytes | None]:
    """The file without chunks that are too large, and its colour profile if that was one of them.

    Returns the same file, at its start, where there is nothing to skip. ``header_only``: the pixels are not needed.
    """
    skipped: list[tuple[int, int]] = []
    profile, texts = None, 0
    file.seek(0)
    end = len(file.read(len(SIGNATURE)))
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        start, end = end, end + length + 12
        if header_only and kind == b"IDAT":
            end = start + 8
            break
        if kind == b"iCCP":
            packed = _packed_part(kind, _read(file, length))
            if packed is not None and _unpacked_size(packed) is None:
                skipped.append((start, end))
                profile = _unpack_profile(packed)
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            size = _text_size(kind, file, length)
            if size is None or texts + size > PngImagePlugin.MAX_TEXT_MEMORY:
                skipped.append((start, end))
            else:
                texts += size
        file.seek(end)
    if not skipped:
        file.seek(0)
        return file, None
    return _without(file, skipped, end), profile


def _text_size(kind: bytes, file: BinaryIO, length: int) -> int | None:
    """Bytes of a text, unpacked; None if it unpacks to more than Pillow takes."""
    # Compressed, it is larger still.
    if length > PngImagePlugin.MAX_TEXT_MEMORY:
        return None
    packed = _packed_part(kind, _read(file, length))
    return length if packed is None else _unpacked_size(packed)


def _packed_part(kind: bytes, content: bytes) -> bytes | None:
    """The compressed part of a chunk; None if it has none."""
    _, _, rest = content.partition(b"\0")
    if kind == b"tEXt":
        return None
    if kind != b"iTXt":
        return rest[1:]
    if rest[:1] in (b"", b"\0"):
        return None
    # Compression flag and method, then language and translated keyword.
    parts = rest[2:].split(b"\0", 2)
    return parts[2] if len(parts) == 3 else None


def _unpacked_size(packed: bytes) -> int | None:
    """Bytes of what is packed; None if there are more than Pillow unpacks."""
    unpacker = zlib.decompressobj()
    try:
        size = len(unpacker.decompress(packed, PngImagePlugin.MAX_TEXT_CHUNK))
    except zlib.error:
        # Pillow ignores what is damaged.
        return 0
    return None if unpacker.unconsumed_tail else size


def _unpack_profile(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        profile = unpacker.decompress(packed, MAX_PROFILE_BYTES)
    except zlib.error:
        return UNUSABLE
    return UNUSABLE if unpacker.unconsumed_tail else profile


def _read(file: BinaryIO, length: int) -> bytes:
    """Up to ``length`` bytes; a damaged length may be larger than the file, and is not reserved."""
    content = io.BytesIO()
    while length > 0 and (part := file.read(min(length, 2**20))):
        content.write(part)
        length -= len(part)
    return content.getvalue()


def _without(file: BinaryIO, skipped: list[tuple[int, int]], end: int) -> BinaryIO:
    """A copy of the file's first ``end`` bytes without these ranges."""
    kept, start = io.BytesIO(), 0
    for first, last in [*skipped, (end, end)]:
        file.seek(start)
        kept.write(_read(file, first - start))
        start = last
    kept.seek(0)
    return kept
