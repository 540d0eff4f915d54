"""Colour management of input images: conversion from an embedded ICC profile to sRGB, by LittleCMS."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

MAX_PROFILE_BYTES = 16 * 2**20
"""Largest profile that is used; a JPEG cannot hold a larger one, and printers' have about 2 MB."""

SAME_COLOURS = 2
"""Largest difference, of 255, between the colours of a profile that counts as sRGB and sRGB's.

The eight of saucecontrol's Compact-ICC-Profiles that are sRGB's differ by 0, the nearest other one (Rec. 709) by 16;
LittleCMS may round by 1, in another version.
"""

_SPACES = {"RGB": "RGB ", "L": "GRAY", "CMYK": "CMYK"}
"""Pillow's mode -> the colour space that a profile for it must have."""


class Conversion(NamedTuple):
    """Treatment of colours that have a profile."""

    to_srgb: ImageCms.ImageCmsTransform | None
    """None where the colours stay as they are: the profile is sRGB's, or cannot be used."""
    is_usable: bool = True


KEEP = Conversion(None)
"""Of an image without a profile."""


def profile_mode(mode: str) -> str | None:
    """The mode in which an image of this mode is converted; None for LAB, which has its colour space in itself."""
    if mode in ("1", "L", "LA", "I") or mode.startswith("I;16"):
        return "L"
    return {"CMYK": "CMYK", "LAB": None}.get(mode, "RGB")


def conversion(profile: bytes | None, mode: str) -> Conversion:
    """The conversion of an image's colours. ``mode``: Pillow's mode of the image."""
    converted = profile_mode(mode)
    if not profile or converted is None:
        return KEEP
    if len(profile) > MAX_PROFILE_BYTES:
        return Conversion(None, is_usable=False)
    return _conversion(profile, converted)


# A photographer's images have few profiles, and building a transform takes a millisecond.
@lru_cache(maxsize=8)
def _conversion(profile: bytes, mode: str) -> Conversion:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space != _SPACES[mode]:
            return Conversion(None, is_usable=False)
        # As Photoshop converts: white stays white, and the darkest ink becomes black.
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return Conversion(None, is_usable=False)
    if mode != "CMYK" and _largest_change(transform, mode) <= SAME_COLOURS:
        return KEEP
    return Conversion(transform)


def _largest_change(transform: ImageCms.ImageCmsTransform, mode: str) -> int:
    """By how much the conversion changes a colour, over a grid of all."""
    if mode == "L":
        grid = np.arange(256, dtype=np.uint8)[None]
    else:
        steps = np.linspace(0, 255, 17).round().astype(np.uint8)
        grid = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
    image = Image.fromarray(grid)
    before, after = np.asarray(image.convert("RGB"), np.int16), np.asarray(convert(image, transform), np.int16)
    return int(np.abs(after - before).max())


def convert(image: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    """The image in sRGB, in mode RGB and without a profile. Its own mode is the transform's."""
    converted = transform.apply(image)
    # Saved again, the image must not have a profile beside converted colours.
    converted.info.pop("icc_profile", None)
    return converted
