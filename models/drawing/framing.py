"""Size of an edit, and framing of its source: cropped where necessary, never distorted."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageOps

from imagemill.data.images.size_buckets import nearest
from imagemill.models.catalog.spec import ModelSpec


def edit_size(source: tuple[int, int], requested: tuple[int | None, int | None], spec: ModelSpec) -> tuple[int, int]:
    """Width and height, in pixels, of an edit of an image of the size ``source``.

    ``requested`` are the row's width and height. One that is None follows from the source's shape. With neither, the
    edit has its source's size, rounded down to the model's multiple, or the nearest of the model's sizes if the recipe
    sets that.
    """
    width, height = requested
    if width and height:
        return width, height
    if width:
        return width, _rounded(width * source[1] / source[0], spec)
    if height:
        return _rounded(height * source[0] / source[1], spec), height
    if spec.call.to_bucket:
        return nearest(spec.limits.buckets, source[0] / source[1])
    return tuple(max(1, side // spec.limits.size_multiple) * spec.limits.size_multiple for side in source)


def _rounded(side: float, spec: ModelSpec) -> int:
    return max(1, round(side / spec.limits.size_multiple)) * spec.limits.size_multiple


def frame(
    source: Image.Image,
    size: tuple[int, int],
    multiple: int,
    resampling: Image.Resampling = Image.Resampling.LANCZOS,
) -> Image.Image:
    """The middle of the image at this width and height, undistorted.

    Only cropped if that loses less than ``multiple`` pixels per side, so that no pixel is resampled. Otherwise scaled
    to cover ``size``, then cropped.
    """
    if source.size == size:
        return source
    spare = [side - target for side, target in zip(source.size, size, strict=True)]
    if all(0 <= pixels < multiple for pixels in spare):
        left, top = spare[0] // 2, spare[1] // 2
        return source.crop((left, top, left + size[0], top + size[1]))
    return ImageOps.fit(source, size, resampling)


def stitch(image: Image.Image, references: Sequence[Image.Image], multiple: int) -> Image.Image:
    """The image with the references to its right, in their order, each scaled to its height.

    The right edge is cropped to a multiple of ``multiple`` pixels.
    """
    widths = [max(1, round(item.width * image.height / item.height)) for item in references]
    whole = Image.new("RGB", (image.width + sum(widths), image.height))
    whole.paste(image)
    left = image.width
    for reference, width in zip(references, widths, strict=True):
        whole.paste(reference.resize((width, image.height), Image.Resampling.LANCZOS), (left, 0))
        left += width
    return whole.crop((0, 0, whole.width // multiple * multiple, whole.height))
