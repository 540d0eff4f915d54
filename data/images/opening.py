"""Opening of image files by content: the header is read, limits are checked, and a refusal names its true cause."""

from __future__ import annotations

import struct
from typing import BinaryIO

from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from imagemill.data.errors import BadRow, one_line
from imagemill.data.images.heif import heif_format
from imagemill.data.images.limits import MAX_PIXELS
from imagemill.data.images.other_files import kind_of_other_file
from imagemill.data.images.png_chunks import SIGNATURE, skip_large_chunks
from imagemill.data.messages import shown_path

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")
"""Formats that Pillow reads, detected by content whatever the file's name; HEIC needs another package."""

Image.MAX_IMAGE_PIXELS = MAX_PIXELS

_HEAD = 4096


def open_image(file: BinaryIO, name: str, max_pixels: int = MAX_PIXELS, header_only: bool = False) -> Image.Image:
    """Open an image without decoding it. Raises BadRow with ``name``.

    ``header_only``: the result is not decoded later, so that of a PNG only what precedes its pixels may be read.
    """
    head = file.read(_HEAD)
    file.seek(0)
    formats, profile = (*FORMATS, *heif_format(head, name)), None
    try:
        if head.startswith(SIGNATURE):
            file, profile = skip_large_chunks(file, header_only)
        image: Image.Image = Image.open(file, formats=formats)
    except Image.DecompressionBombError as error:
        raise BadRow(f"the image {shown_path(name)} has too many pixels, over {MAX_PIXELS:,}") from error
    # On damaged bytes decoders raise almost anything, for instance struct.error.
    except Exception as error:
        raise BadRow(f"undecodable image: {shown_path(name)} {_cause(head, file, error)}") from error
    if profile is not None:
        image.info["icc_profile"] = profile
    width, height = unpacked_size(image)
    if width * height > max_pixels:
        raise BadRow(f"the image {shown_path(name)} has {width} x {height} pixels, over {max_pixels:,}")
    if image.mode == "F" or (image.mode == "I" and not is_signed_16_bit(image)):
        raise BadRow(f"the image {shown_path(name)} has 32 bits a channel (mode {image.mode}): save it with 8 or 16")
    return image


def is_signed_16_bit(image: Image.Image) -> bool:
    """True if the pixels are 16-bit signed integers, which Pillow gives as 32-bit ones."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    return image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE) == (16,) and image.tag_v2.get(339) == (2,)


def unpacked_size(image: Image.Image) -> tuple[int, int]:
    """Width and height in pixels of what decoding takes memory for: the image, or a TIFF's tile that is larger."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        width, height = (image.tag_v2.get(tag) for tag in (TiffImagePlugin.TILEWIDTH, TiffImagePlugin.TILELENGTH))
        if isinstance(width, int) and isinstance(height, int) and width * height > image.width * image.height:
            return width, height
    return image.size


def _cause(head: bytes, file: BinaryIO, error: Exception) -> str:
    """Why Pillow did not open the file, as the end of a sentence about it."""
    if not head:
        return "is empty: it has 0 bytes"
    other = kind_of_other_file(head)
    if other:
        return f"is {other}; images are {_names()}"
    for claimed in FORMATS:
        factory, accept = Image.OPEN[claimed]
        accepted = accept is None or accept(head[:16])
        if isinstance(accepted, str):
            return f"is not read: {one_line(accepted)}"
        if accepted:
            # Pillow says no more than that it cannot identify the file; the format's own reader says why.
            words = _words_of(factory, file) if isinstance(error, UnidentifiedImageError) else one_line(error)
            return f"is a {claimed} image, but damaged ({words})"
    return f"is none of {_names()}, or is damaged"


def _words_of(factory: object, file: BinaryIO) -> str:
    assert callable(factory)
    try:
        file.seek(0)
        factory(file, "")
    except (SyntaxError, IndexError, TypeError, ValueError, KeyError, OSError, struct.error) as error:
        return one_line(error)
    return "no reader takes it"


def _names() -> str:
    return f"{', '.join(FORMATS)} or HEIC"
