"""Thumbnails, and images in a form that browsers show: decoded safely, and encoded again unless PNG, JPEG or WebP."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable
from threading import BoundedSemaphore, Lock

from PIL import Image

from imagemill.data.errors import BadRow
from imagemill.data.images.codec import decode_image

SIZES = (256, 512)
"""Largest sides of thumbnails, in pixels."""

CACHE_BYTES = 48 * 2**20
"""Bytes of the thumbnails that are kept, those used last."""

DECODERS = 4
"""Images that are decoded at once: the largest take 200 MB each."""

_MAGIC = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}

_decoding = BoundedSemaphore(DECODERS)

Encoded = tuple[bytes, str]
"""Bytes and media type."""


class Thumbnails:
    """Least recently used cache of thumbnails. Thread-safe."""

    def __init__(self) -> None:
        self._made: OrderedDict[object, Encoded] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def get(self, key: object, size: int, read: Callable[[], bytes | None]) -> Encoded | None:
        """The thumbnail of the image that ``read`` returns; None if it is None. Raises BadRow if it cannot be read."""
        with self._lock:
            if (key, size) in self._made:
                self._made.move_to_end((key, size))
                return self._made[key, size]
        content = read()
        if content is None:
            return None
        made = make_thumbnail(content, size)
        with self._lock:
            if (key, size) not in self._made:
                self._made[key, size] = made
                self._bytes += len(made[0])
            while self._bytes > CACHE_BYTES:
                self._bytes -= len(self._made.popitem(last=False)[1][0])
        return made


def make_thumbnail(content: bytes, size: int) -> Encoded:
    """The image, scaled down to at most ``size`` pixels a side. Raises BadRow if it cannot be read."""
    with _decoding:
        image = decode_image(content, "image", truncated=True)
        if max(image.size) <= size:
            # Its own pixels, which the browser scales up.
            return _encoded(image, "PNG")
        image.thumbnail((size, size), Image.Resampling.LANCZOS, reducing_gap=3.0)
        return _encoded(image, "JPEG")


def whole_image(content: bytes) -> Encoded:
    """The image for a browser: as it is if browsers can show its format, otherwise as PNG. Raises BadRow."""
    for magic, media_type in _MAGIC.items():
        if content.startswith(magic):
            return content, media_type
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return content, "image/webp"
    with _decoding:
        return _encoded(decode_image(content, "image", truncated=True), "PNG")


def _encoded(image: Image.Image, form: str) -> Encoded:
    buffer = io.BytesIO()
    try:
        if form == "JPEG":
            image.save(buffer, form, quality=85)
        else:
            image.save(buffer, form, compress_level=1)
    except (OSError, ValueError) as error:
        raise BadRow(f"the image cannot be shown ({error})") from error
    return buffer.getvalue(), f"image/{form.lower()}"
