"""Strip of the images that a running build generated last, for its report."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from imagemill.data.dataset.sheet.contact_sheet import shrink_sheet
from imagemill.data.errors import BadRow
from imagemill.data.images.codec import decode_image
from imagemill.data.staging.newest import newest_images

COUNT = 8
"""Images in the strip."""

_SIDE, _GAP = 96, 6


def last_images(staged: Path, max_bytes: int) -> bytes | None:
    """A WebP of at most ``max_bytes``, newest first; None where no image is staged. ``staged``: the build's folder."""
    tiles = []
    for content in newest_images(staged, COUNT):
        try:
            image = decode_image(content, "last images", truncated=True)
        except BadRow:
            # Its worker was killed while it wrote it.
            continue
        # A small image shows its own pixels.
        resampling = Image.Resampling.NEAREST if max(image.size) < _SIDE else Image.Resampling.LANCZOS
        scale = _SIDE / max(image.size)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        tiles.append(image.convert("RGB").resize(size, resampling, reducing_gap=3.0))
    if not tiles:
        return None
    strip = Image.new("RGB", (len(tiles) * (_SIDE + _GAP) - _GAP, _SIDE), "white")
    for place, tile in enumerate(tiles):
        strip.paste(tile, (place * (_SIDE + _GAP) + (_SIDE - tile.width) // 2, (_SIDE - tile.height) // 2))
    buffer = io.BytesIO()
    strip.save(buffer, "PNG")
    return shrink_sheet(buffer.getvalue(), max_bytes)
