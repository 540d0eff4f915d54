"""Checks of a generated image before it is staged."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from PIL import Image

BLACK = 2
"""An image with no value above this, of 255, counts as black; an overflow in float16 gives such images."""

PLAIN = 2
"""An image in which no value is further than this, of 255, from one colour counts as plain.

It is what rounding leaves of a plain image: half a level in bfloat16, half in the conversion to integers, and one in an
API's JPEG. What an autoencoder makes of a plain image does not count: in the bundled model's the values are spread over
10 to 25 levels, as an image of fog may have them too.
"""


def find_fault(
    image: Image.Image,
    is_finite: bool,
    source: Image.Image | None,
    size: tuple[int, int],
    checks: Collection[str],
) -> str | None:
    """The image's fault, or None. ``size``: requested width and height in pixels; ``checks``: those that are on."""
    if "not_finite" in checks and not is_finite:
        return "the image has values that are not numbers (NaN or infinite)"
    if "size" in checks and image.size != size:
        return f"the image is {image.width} x {image.height} pixels, not {size[0]} x {size[1]}"
    if "blank" in checks:
        blank = _find_blank(image)
        if blank:
            return blank
    if "unchanged" in checks and source is not None and np.array_equal(np.asarray(image), np.asarray(source)):
        return "the edit is identical to its source"
    return None


def _find_blank(image: Image.Image) -> str | None:
    # A row of pixels first, which is cheap: if that is not blank, neither is the image.
    middle = image.height // 2
    for part in (image.crop((0, middle, image.width, middle + 1)), image):
        ranges = part.getextrema()
        is_black, is_plain = (
            all(high <= BLACK for _, high in ranges),
            all(high - low <= 2 * PLAIN for low, high in ranges),
        )
        if not is_black and not is_plain:
            return None
    return "the image is black" if is_black else "the image is of one colour"
