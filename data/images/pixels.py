"""Hash of decoded pixels: equal for equal images, whatever file they are in."""

from __future__ import annotations

import hashlib

from PIL import Image


def hash_pixels(image: Image.Image) -> str:
    """sha256, in hexadecimal, over mode, width and height in pixels, and the samples, row by row.

    ``image`` is RGB, or L for a mask.
    """
    sha256 = hashlib.sha256(f"{image.mode} {image.width}x{image.height}\n".encode())
    sha256.update(image.tobytes())
    return sha256.hexdigest()
