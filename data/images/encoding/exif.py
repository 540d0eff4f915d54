"""EXIF of a generated image: its parameters in the user comment."""

from __future__ import annotations

import codecs
import struct

from PIL import Image

_EXIF_USER_COMMENT = 0x9286
_EXIF_IFD = 0x8769
_HEADER = struct.Struct(">2sHL")
_LONG, _UNDEFINED = 4, 7
_MAX_EXIF_COMMENT_BYTES = 60_000
"""Leaves space for other tags: a JPEG's EXIF is limited to 64 KB."""


def exif_version_1(parameters: str) -> bytes:
    """EXIF with a user comment, as Pillow writes it."""
    exif = Image.Exif()
    exif.get_ifd(_EXIF_IFD)[_EXIF_USER_COMMENT] = b"UNICODE\0" + _fit_exif(parameters.encode("utf-16-be"))
    return exif.tobytes()


def exif_of(parameters: str) -> bytes:
    """EXIF with a user comment, of the type that the standard gives it: Pillow writes another, which piexif refuses.

    CIPA DC-008, section 4.6.6: a big-endian TIFF header, and two directories of one entry each.
    """
    text = _fit_exif(parameters.encode("utf-16-be"))
    try:
        text.decode("utf-16-le")
    except UnicodeDecodeError:
        # sd-prompt-reader decodes it in the machine's byte order first. Where that would fail, a mark names the order.
        text = codecs.BOM_UTF16_BE + text
    comment = b"UNICODE\0" + text
    entry, no_more = struct.Struct(">HHHLL"), bytes(4)
    first = entry.pack(1, _EXIF_IFD, _LONG, 1, _HEADER.size + entry.size + len(no_more)) + no_more
    start = _HEADER.size + 2 * (entry.size + len(no_more))
    second = entry.pack(1, _EXIF_USER_COMMENT, _UNDEFINED, len(comment), start) + no_more
    return b"Exif\0\0" + _HEADER.pack(b"MM", 42, _HEADER.size) + first + second + comment


def _fit_exif(text: bytes) -> bytes:
    """Cut the middle out of UTF-16 text that does not fit into EXIF."""
    if len(text) <= _MAX_EXIF_COMMENT_BYTES:
        return text
    head, tail = text[: _MAX_EXIF_COMMENT_BYTES * 3 // 4], text[-_MAX_EXIF_COMMENT_BYTES // 5 // 2 * 2 :]
    shortened = head.decode("utf-16-be", "ignore") + " ... " + tail.decode("utf-16-be", "ignore")
    return shortened.encode("utf-16-be")
