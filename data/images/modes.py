"""Conversion of decoded images to 8-bit RGB, and the version of that conversion.

An image is converted as it was when its edit was generated: the version is part of the keys of images whose sources
it changes, and of no other's.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image, PngImagePlugin, TiffImagePlugin

from imagemill.data.images.colour import Conversion, conversion, convert, profile_mode
from imagemill.data.images.opening import is_signed_16_bit

READING = 2
"""Version of the conversion; part of the key of an image whose source has other pixels in it than in version 1.

1 ignores colour profiles, the transparent colour of 16-bit PNGs, 12 bits, and that 16-bit greys may count from white.
"""

_WHITE_IS_ZERO = 0


class Stored(NamedTuple):
    """Storage of a file's pixels, as far as Pillow's decoding does not undo it."""

    colours: Conversion
    bits: int = 16
    """Of a grey with more than 8."""
    is_signed: bool = False
    white_is_zero: bool = False
    transparent: int | tuple[int, int, int] | None = None
    """The 16-bit grey or colour that is transparent in a 16-bit PNG."""

    @property
    def reading(self) -> int | None:
        """READING if the image has other pixels in it than in version 1."""
        differs = self.colours.to_srgb or self.bits != 16 or self.white_is_zero or self.transparent is not None
        return READING if differs else None


def stored_as(image: Image.Image) -> Stored:
    """Storage of an opened image; it is not decoded."""
    colours, is_deep = conversion(image.info.get("icc_profile"), image.mode), image.mode.startswith("I")
    if isinstance(image, TiffImagePlugin.TiffImageFile) and is_deep:
        tags = image.tag_v2
        bits = tags.get(TiffImagePlugin.BITSPERSAMPLE, (16,))[0]
        is_inverted = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO
        return Stored(colours, bits, is_signed_16_bit(image), is_inverted)
    if isinstance(image, PngImagePlugin.PngImageFile) and (is_deep or _is_deep_rgb(image)):
        return Stored(colours, transparent=image.info.get("transparency"))
    return Stored(colours)


def _is_deep_rgb(image: PngImagePlugin.PngImageFile) -> bool:
    return bool(image.tile) and image.tile[0].args == "RGB;16B"


def keep_low_bytes(image: Image.Image) -> None:
    """Make a 16-bit RGB image that is not decoded yet decode to the lower byte of each value, not to the higher."""
    assert isinstance(image, PngImagePlugin.PngImageFile), "only a PNG has a transparent 16-bit colour"
    image.tile = [tile._replace(args="RGB;16L") for tile in image.tile]


def to_rgb(image: Image.Image, stored: Stored, low_bytes: Image.Image | None = None) -> Image.Image:
    """Convert to sRGB, 8 bits, with transparency on white.

    ``low_bytes``: the lower bytes of a 16-bit RGB image with a transparent colour.
    """
    alpha = _transparency(image, stored, low_bytes)
    if image.mode.startswith("I"):
        image = _eight_bits(image, stored)
    mode, transform = profile_mode(image.mode), stored.colours.to_srgb
    if alpha is None and (transform is None or mode is None):
        return _on_white(image)
    if alpha is None and image.has_transparency_data:
        alpha = image.convert("RGBA").getchannel("A")
    image = image.copy()
    image.info.pop("transparency", None)
    image = convert(image.convert(mode), transform) if transform and mode else image.convert("RGB")
    if alpha:
        image.putalpha(alpha)
    return _on_white(image)


def to_rgb_version_1(image: Image.Image) -> Image.Image:
    """Convert as version 1 did, for an image whose edit is in a dataset from then."""
    if image.mode.startswith("I;16"):
        image = image.point(lambda value: value * (1 / 256)).convert("L")
    return _on_white(image)


def _on_white(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        # Pillow's conversion reveals the colours of transparent pixels.
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return image.convert("RGB")


def _eight_bits(image: Image.Image, stored: Stored) -> Image.Image:
    # Pillow's conversion clips: all but the darkest 256 of 65,536 greys would become white.
    values = np.asarray(image).astype(np.int32) + (2**15 if stored.is_signed else 0)
    greys = (values >> (stored.bits - 8)).clip(0, 255).astype(np.uint8)
    return Image.fromarray(255 - greys if stored.white_is_zero else greys)


def _transparency(image: Image.Image, stored: Stored, low_bytes: Image.Image | None) -> Image.Image | None:
    """The alpha channel of a 16-bit PNG with a transparent grey or colour."""
    if stored.transparent is None:
        return None
    values = np.asarray(image).astype(np.uint16)
    if low_bytes is not None:
        values = values << 8 | np.asarray(low_bytes)
    is_transparent = values == np.array(stored.transparent, np.uint16)
    if is_transparent.ndim == 3:
        is_transparent = is_transparent.all(axis=2)
    return Image.fromarray(np.where(is_transparent, 0, 255).astype(np.uint8))
