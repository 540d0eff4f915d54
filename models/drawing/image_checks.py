"""Look at a drawn picture before it is kept."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from PIL import Image

BLACK = 2
"""A picture is black when no value in it is above this, of 255; an overflow in float16 gives such pictures."""


def find_fault(
    picture: Image.Image,
    is_finite: bool,
    source: Image.Image | None,
    asked: tuple[int, int],
    checks: Collection[str],
) -> str | None:
    """What is wrong with the picture, or None. ``asked``: width, height in pixels; ``checks``: those that are on."""
    if "not_finite" in checks and not is_finite:
        return "the picture has values that are not numbers (NaN or infinite)"
    if "size" in checks and picture.size != asked:
        return f"the picture is {picture.width} x {picture.height} pixels, not {asked[0]} x {asked[1]}"
    if "blank" in checks:
        blank = _find_blank(picture)
        if blank:
            return blank
    if "unchanged" in checks and source is not None and np.array_equal(np.asarray(picture), np.asarray(source)):
        return "the edit is identical to its source"
    return None


def _find_blank(picture: Image.Image) -> str | None:
    # A row of pixels first: where it is not blank, nor is the picture.
    middle = picture.height // 2
    for part in (picture.crop((0, middle, picture.width, middle + 1)), picture):
        ranges = part.getextrema()
        is_black, is_plain = all(high <= BLACK for _, high in ranges), all(low == high for low, high in ranges)
        if not is_black and not is_plain:
            return None
    return "the picture is black" if is_black else "the picture is of one colour"
