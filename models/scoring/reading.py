"""Decoding of scorers' input images. Imports no torch."""

from __future__ import annotations

from PIL import Image

from imagemill.data.errors import BadRow
from imagemill.data.images.codec import decode_image
from imagemill.data.images.sources import read_unchanged
from imagemill.data.messages import shown
from imagemill.data.scores.records import ImageRef
from imagemill.data.staging.store import Staging


def to_mask(image: Image.Image) -> Image.Image:
    """The mask that is read from an image, as an inpainting reads it: black or white, mode L."""
    return image.convert("L").point(lambda value: 255 * (value >= 128))


def decode(ref: ImageRef, staging: Staging) -> Image.Image:
    """The image in RGB. Raises BadRow where it is missing, damaged, or not the one that the request names."""
    if ref.path is not None:
        content = read_unchanged("image", ref.path, ref.sha256)
        return decode_image(content, ref.path, reading=ref.reading, truncated=ref.truncated)
    assert ref.key is not None, "an image without a path is staged"
    assert ref.encoding is not None, "a staged image has an encoding"
    found = staging.read(ref.key, ref.encoding)
    if found is None:
        raise BadRow(f"the image to score, {ref.key}, is not staged as {shown(ref.encoding)}")
    content, staged = found
    if staged.sha256 != ref.sha256:
        raise BadRow(f"the image to score, {ref.key}, was staged again with other bytes")
    return decode_image(content, ref.key)
