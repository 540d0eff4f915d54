"""Image codec: inspects and safely decodes input images, encodes generated ones with their provenance."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, ImageOps, PngImagePlugin

from imagemill.data.errors import BadRow, one_line
from imagemill.data.images.encoding.exif import exif_of, exif_version_1
from imagemill.data.images.encoding.jpeg import encode_jpeg
from imagemill.data.images.encoding.png import encode_png, international_chunk, text_chunk
from imagemill.data.images.limits import MAX_PIXELS
from imagemill.data.images.modes import READING, keep_low_bytes, stored_as, to_rgb, to_rgb_version_1
from imagemill.data.images.opening import open_image, unpacked_size
from imagemill.data.images.provenance import version_1
from imagemill.data.images.truncated import truncation
from imagemill.data.messages import shown_path

ENCODING_VERSION = 3
"""Version of what is written round an image's pixels: its metadata, and the encoder's settings. Not part of its key.

A dataset continues with the version that it was begun with, so that its images have one kind of bytes.
1: prompt, steps, guidance, seed and model; every image trainedAlgorithmicMedia; EXIF as Pillow writes it. 2: sampler,
strength and LoRAs too, which sd-parsers and sd-prompt-reader read; IPTC's type of edits, and its AI fields. 3: PNG by
data.images.encoding.png.
"""

FAST_PNG = 3
"""The first of these versions whose PNG files Pillow does not write."""

LOSSLESS = "png"
"""The lossless format: sources of a later step must be staged in it."""

PNG_LEVEL = 6
"""zlib level of the PNG images in a dataset of an earlier version."""

WEBP_METHOD = 0
"""WebP effort, 0 (fast) to 6 (small): a fifth faster than 2 and 3 % larger, at 1024 x 1024 (benchmarks/encoding.py)."""

_XMP_KEYWORD = "XML:com.adobe.xmp"


@dataclass(frozen=True, slots=True)
class Encoding:
    """File format and quality of an encoded image."""

    image_format: str
    """``png``, ``jpeg`` or ``webp``."""
    quality: int | None = None
    """1 to 100; None for png, which is lossless."""
    version: int = field(default=ENCODING_VERSION, compare=False)
    """ENCODING_VERSION of the dataset. It does not count: a dataset has one."""

    @property
    def name(self) -> str:
        """``png``, ``jpeg-95``: within a dataset equal names, equal bytes."""
        return self.image_format if self.quality is None else f"{self.image_format}-{self.quality}"

    def to_json(self) -> dict[str, Any]:
        """Format and quality, as plain values."""
        return {"image_format": self.image_format, "quality": self.quality}

    @property
    def lossless(self) -> bool:
        """True if every pixel is preserved."""
        return self.image_format == LOSSLESS


class Inspected(NamedTuple):
    """Facts of an image from its file's header."""

    sha256: str
    width: int
    height: int
    reading: int | None = None
    """READING if the image is converted otherwise than in version 1 (data.images.modes)."""
    has_usable_profile: bool = True
    """False if it has a colour profile that cannot be used."""


def inspect_image(path: Path, name: str | None = None, truncated: bool = False) -> Inspected:
    """Check that ``path`` is a readable image. Raises BadRow with ``name``.

    Decodes the header only; a truncated image is detected when it is used, or not at all with ``truncated``.
    """
    try:
        # Reading a device or a pipe might never end.
        if path.exists() and not path.is_file():
            raise BadRow(f"the image {shown_path(path)} is not a file")
        with path.open("rb") as file, truncation(truncated):
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            image = open_image(file, name or str(path), header_only=True)
            stored = stored_as(image)
            return Inspected(sha256, *unpacked_size(image), stored.reading, stored.colours.is_usable)
    except FileNotFoundError as error:
        raise BadRow(f"missing image: {shown_path(path)} does not exist") from error
    except OSError as error:
        raise BadRow(f"the image {shown_path(path)} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise BadRow(f"the image {shown_path(path)} cannot be read: {one_line(error)}") from error


def decode_image(
    content: bytes, name: str, max_pixels: int = MAX_PIXELS, reading: int = READING, truncated: bool = False
) -> Image.Image:
    """Decode to RGB: EXIF orientation applied, colours in sRGB, transparency on white, 16 bits reduced to 8.

    ``reading``: version of the conversion (data.images.modes). ``truncated``: of a file that ends early, what there is.
    Raises BadRow with ``name`` in its reason.
    """
    with truncation(truncated):
        image = open_image(io.BytesIO(content), name, max_pixels)
        try:
            stored, low_bytes = stored_as(image), None
            if stored.reading and reading < stored.reading:
                return to_rgb_version_1(ImageOps.exif_transpose(image))
            if isinstance(stored.transparent, tuple):
                low_bytes = open_image(io.BytesIO(content), name, max_pixels)
                keep_low_bytes(low_bytes)
                low_bytes = ImageOps.exif_transpose(low_bytes)
            return to_rgb(ImageOps.exif_transpose(image), stored, low_bytes)
        # On damaged bytes decoders raise almost anything, for instance struct.error.
        except Exception as error:
            words = one_line(error)
            hint = "" if truncated or "truncated" not in words else "; images: {truncated: allow} takes what there is"
            raise BadRow(f"undecodable image: {shown_path(name)} ({words}){hint}") from error


def encode_image(image: Image.Image, encoding: Encoding, parameters: str, xmp: str = version_1.XMP) -> bytes:
    """Encode an RGB image and mark it as generated by a model.

    ``parameters`` describes its generation in A1111's format (data.images.provenance). It is written to a PNG's text
    chunk of that name, otherwise to the EXIF user comment. ``xmp``: an XMP packet. Equal input gives equal bytes with
    the same versions of Pillow and imagecodecs.
    """
    if encoding.lossless and encoding.version < FAST_PNG:
        return _encode_png_version_2(image, parameters, xmp)
    if encoding.lossless:
        return encode_png(image, [text_chunk("parameters", parameters), international_chunk(_XMP_KEYWORD, xmp)])
    exif = exif_version_1(parameters) if encoding.version == 1 else exif_of(parameters)
    assert encoding.quality is not None, "a lossy encoding has a quality"
    if encoding.image_format == "jpeg":
        return encode_jpeg(image, encoding.quality, exif, xmp.encode())
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=encoding.quality, method=WEBP_METHOD, exif=exif, xmp=xmp.encode())
    return buffer.getvalue()


def _encode_png_version_2(image: Image.Image, parameters: str, xmp: str) -> bytes:
    buffer, chunks = io.BytesIO(), PngImagePlugin.PngInfo()
    add = chunks.add_text if parameters.isascii() else chunks.add_itxt
    add("parameters", parameters)
    chunks.add_itxt(_XMP_KEYWORD, xmp)
    image.save(buffer, "PNG", pnginfo=chunks, compress_level=PNG_LEVEL)
    return buffer.getvalue()
