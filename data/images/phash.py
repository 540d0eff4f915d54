"""Perceptual hash of an image: 64 bits that hardly change when it is scaled, encoded again or slightly edited.

The DCT hash of C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010), as ImageHash's
``phash`` has it, in integers: it has the same bits on every machine, and all images of one colour have equal ones.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

_SIDE = 32
_LOW = 8
"""Frequencies a side: 8 x 8 bits."""

# DCT-II without scaling: row k holds cos(pi k (2 i + 1) / 64), here with 14 binary places.
_COSINES = np.rint(
    2**14 * np.cos(np.pi / (2 * _SIDE) * np.outer(np.arange(_LOW), 2 * np.arange(_SIDE) + 1)),
).astype(np.int64)


def phash(image: Image.Image) -> int:
    """Hash of an RGB image, 0 to 2**64 - 1: which of its 64 lowest frequencies are above their median.

    Two images look alike if few bits differ: 0 to 4 of an image saved again, about 32 of two different ones.
    """
    pixels = np.asarray(image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS), np.int64)
    frequencies = (_COSINES @ pixels @ _COSINES.T).ravel()
    # The median of an even number of values is the mean of the middle two; doubled, it stays an integer.
    low, high = np.partition(frequencies, (31, 32))[31:33]
    return int.from_bytes(np.packbits(2 * frequencies > low + high).tobytes(), "big")
