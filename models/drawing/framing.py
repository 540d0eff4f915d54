"""How large an edit is, and what of its source the model sees: cut where it must be, never bent."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageOps

from imagemill.data.images.size_buckets import nearest
from imagemill.models.catalog.spec import ModelSpec


def edit_size(source: tuple[int, int], asked: tuple[int | None, int | None], spec: ModelSpec) -> tuple[int, int]:
    """Width and height, in pixels, of an edit of an image of the size ``source``.

    ``asked`` is what the row says, None where it says nothing. A side that is not asked for follows from the source's
    shape; with neither, the edit is as large as its source, cut down to what the model generates, or the nearest of the
    model's own sizes where the recipe says so.
    """
    width, height = asked
    if width and height:
        return width, height
    if width:
        return width, _drawable(width * source[1] / source[0], spec)
    if height:
        return _drawable(height * source[0] / source[1], spec), height
    if spec.call.to_bucket:
        return nearest(spec.limits.buckets, source[0] / source[1])
    return tuple(max(1, side // spec.limits.size_multiple) * spec.limits.size_multiple for side in source)


def _drawable(side: float, spec: ModelSpec) -> int:
    return max(1, round(side / spec.limits.size_multiple)) * spec.limits.size_multiple


def frame(
    source: Image.Image,
    size: tuple[int, int],
    multiple: int,
    resampling: Image.Resampling = Image.Resampling.LANCZOS,
) -> Image.Image:
    """The middle of the image at this width and height, its shape unbent.

    Only cut where that loses less than ``multiple`` pixels a side: no pixel is resampled then. Else scaled to cover
    ``size``, and then cut.
    """
    if source.size == size:
        return source
    spare = [side - wanted for side, wanted in zip(source.size, size, strict=True)]
    if all(0 <= one < multiple for one in spare):
        left, top = spare[0] // 2, spare[1] // 2
        return source.crop((left, top, left + size[0], top + size[1]))
    return ImageOps.fit(source, size, resampling)


def stitch(image: Image.Image, references: Sequence[Image.Image], multiple: int) -> Image.Image:
    """The image with the references to the right of it, in their order, each as high as it and its shape unbent.

    The right edge is cut to a width that is a multiple of ``multiple`` pixels.
    """
    widths = [max(1, round(one.width * image.height / one.height)) for one in references]
    whole = Image.new("RGB", (image.width + sum(widths), image.height))
    whole.paste(image)
    left = image.width
    for one, width in zip(references, widths, strict=True):
        whole.paste(one.resize((width, image.height), Image.Resampling.LANCZOS), (left, 0))
        left += width
    return whole.crop((0, 0, whole.width // multiple * multiple, whole.height))
