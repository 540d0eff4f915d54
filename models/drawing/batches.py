"""Batching of a job's drawings: each with its source image, the rows of a batch equal in shape and settings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from imagemill.data.errors import BadRow
from imagemill.data.images.codec import LOSSLESS, decode_image
from imagemill.data.images.sources import read_given, read_guides, read_mask, read_references
from imagemill.data.messages import shown
from imagemill.data.records import Drawing, Failure
from imagemill.data.staging.store import Staging
from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.drawing.framing import edit_size, frame


@dataclass(frozen=True, slots=True)
class PreparedDrawing:
    """A drawing with its source image, if it has one, ready for the device."""

    drawing: Drawing
    source: Image.Image | None
    """At the generated size."""
    width: int
    height: int
    mask: Image.Image | None = None
    """Black and white (mode L), at the generated size: white is repainted."""
    references: tuple[Image.Image, ...] = ()
    """Further images for a model that takes several, of any sizes."""
    guides: Mapping[str, Image.Image] = field(default_factory=dict)
    """Control images by role (data.config.guides); a ControlNet's has the generated size."""


def prepare_drawings(
    drawings: Sequence[Drawing], staging: Staging, spec: ModelSpec, failed: dict[str, Failure]
) -> Iterator[PreparedDrawing]:
    """The drawings with their source images; one whose source cannot be read goes into ``failed``."""
    for drawing in drawings:
        try:
            yield _with_source(drawing, staging, spec)
        except BadRow as error:
            failed[drawing.key] = Failure(str(error))


def _with_source(drawing: Drawing, staging: Staging, spec: ModelSpec) -> PreparedDrawing:
    source = read_source(drawing, staging)
    if source is None:
        return PreparedDrawing(drawing, None, drawing.width, drawing.height, guides=_guides(drawing, spec))
    mask = _mask(drawing, source) if drawing.mask_path is not None else None
    width, height = edit_size(source.size, (drawing.width, drawing.height), spec)
    size, step = (width, height), spec.limits.size_multiple
    framed = None if mask is None else frame(mask, size, step, Image.Resampling.NEAREST)
    references = decode_references(drawing)
    return PreparedDrawing(drawing, frame(source, size, step), width, height, framed, references)


def decode_references(drawing: Drawing) -> tuple[Image.Image, ...]:
    """The further images of an edit. Raises BadRow where one cannot be read."""
    contents = zip(read_references(drawing), drawing.references, strict=True)
    return tuple(_decode(content, path, drawing) for content, (path, _) in contents)


def read_source(drawing: Drawing, staging: Staging) -> Image.Image | None:
    """The image that a drawing edits; None where it edits none. Raises BadRow where it cannot be read."""
    if drawing.source is not None:
        found = staging.read(drawing.source, LOSSLESS)
        if found is None:
            raise BadRow(f"the image to edit, {drawing.source}, is not staged")
        return decode_image(found[0], drawing.source)
    if drawing.source_path is not None:
        return _decode(read_given(drawing), drawing.source_path, drawing)
    return None


def _decode(content: bytes, path: str, drawing: Drawing) -> Image.Image:
    """An image that the drawing is given, in the conversion that its image key stands for."""
    return decode_image(content, path, reading=drawing.reading, truncated=drawing.truncated)


def _guides(drawing: Drawing, spec: ModelSpec) -> dict[str, Image.Image]:
    paths = {role: path for role, path, _ in drawing.guides}
    images = {role: _decode(content, paths[role], drawing) for role, content in read_guides(drawing).items()}
    if "control_image" in images:
        size = drawing.width, drawing.height
        images["control_image"] = frame(images["control_image"], size, spec.limits.size_multiple)
    return images


def _mask(drawing: Drawing, source: Image.Image) -> Image.Image:
    name = drawing.mask_path
    assert name is not None, "an inpainting has a mask"
    mask = _decode(read_mask(drawing), name, drawing).convert("L").point(lambda value: 255 * (value >= 128))
    if mask.size != source.size:
        raise BadRow(
            f"the mask {shown(name)} is {mask.width} x {mask.height} pixels, and its image {source.width} x "
            f"{source.height}: make them of one size"
        )
    if mask.getbbox() is None:
        raise BadRow(f"the mask {shown(name)} is black all over: nothing would be repainted")
    return mask


def cut_batches(
    drawings: Iterator[PreparedDrawing], max_batch_of: Callable[[PreparedDrawing], int]
) -> Iterator[list[PreparedDrawing]]:
    """Cut into batches whose rows share everything that is one argument of a call."""
    batches: dict[tuple[Any, ...], list[PreparedDrawing]] = defaultdict(list)
    for prepared in drawings:
        shared = (
            prepared.width,
            prepared.height,
            prepared.source is None,
            prepared.drawing.steps,
            prepared.drawing.guidance_scale,
            prepared.drawing.negative_prompt is None,
        )
        batches[shared].append(prepared)
        if len(batches[shared]) >= max_batch_of(prepared):
            yield batches.pop(shared)
    yield from batches.values()
