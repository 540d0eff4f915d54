"""Images as data URLs: what a language model is sent of them."""

from __future__ import annotations

import base64
import io

from PIL import Image

MAX_SIDE = 1024
"""Longest side of an image that is sent, in pixels."""

JPEG_QUALITY = 90

MAX_LOSSLESS_PIXELS = 512 * 512
"""Up to this size an image is sent as PNG: it costs little, and shows a small detail as it is."""


def encode(image: Image.Image) -> bytes:
    """The image's pixels in a file that is sent: at most MAX_SIDE a side, PNG or JPEG; equal pixels, equal bytes.

    Always encoded here: an image's own file holds its prompt, and a photograph's the place where it was taken.
    """
    image = image if image.mode == "RGB" else image.convert("RGB")
    longest = max(image.size)
    if longest > MAX_SIDE:
        width, height = (max(1, round(side * MAX_SIDE / longest)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    # A new image has nothing but pixels: Pillow writes what it finds in the old one's info.
    plain = Image.new("RGB", image.size)
    plain.paste(image)
    if plain.width * plain.height <= MAX_LOSSLESS_PIXELS:
        plain.save(buffer, "PNG", compress_level=6)
    else:
        plain.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def data_url(content: bytes) -> str:
    """The URL that holds an encoded image."""
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
