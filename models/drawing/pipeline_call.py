"""One call of a diffusers pipeline: a batch of rows in, images out."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.drawing.batches import PreparedDrawing
from imagemill.models.drawing.framing import stitch
from imagemill.models.loading.acceleration import cache_steps

Outcome = tuple[PreparedDrawing, Image.Image, bool]
"""A row, its image, and whether all of the image's values were finite."""


def draw_batch(pipeline: Any, spec: ModelSpec, batch: Sequence[PreparedDrawing], batch_size: int) -> list[Outcome]:
    """Generate one batch, padded to ``batch_size``; each image comes with whether its values were all finite.

    With one seeded generator an image and every batch of the same size, an image's bits do not depend on its
    neighbours or its place (measured; see docs/architecture.md).
    """
    padded = [*batch, *[batch[-1]] * (batch_size - len(batch))]
    arguments = _arguments(pipeline, spec, padded)
    cache_steps(pipeline, spec.speed, spec.name, padded[0].drawing.steps)
    with torch.inference_mode():
        values = pipeline(**arguments, output_type="pt").images[: len(batch)]
        # Image by image: a batch's values at once are too many for a processor's cache, and twice the memory.
        pixels = [_to_bytes(one) for one in values]
        # What is no number makes the sum none: one value an image to look at, not each.
        finite = torch.stack([one.sum(dtype=torch.float32) for one in values]).isfinite().tolist()
        array: np.ndarray = torch.stack(pixels).cpu().numpy()
    images = [Image.fromarray(pixels) for pixels in array]
    if spec.call.keep_unmasked:
        images = [_keep_unmasked(one, image) for one, image in zip(batch, images, strict=True)]
    return list(zip(batch, images, finite, strict=True))


def _to_bytes(values: torch.Tensor) -> torch.Tensor:
    """Of one image: 3 x height x width from 0 to 1 become height x width x 3 of uint8, rounded as diffusers does."""
    # On the device: a quarter of the bytes to copy.
    scaled = values.float().nan_to_num().mul_(255).round_().clamp_(0, 255)
    return scaled.to(torch.uint8).permute(1, 2, 0).contiguous()


def _keep_unmasked(asked: PreparedDrawing, generated: Image.Image) -> Image.Image:
    """The generated image with the source's own pixels where the mask is black."""
    # One of another size than was asked for is left to the checks.
    return Image.composite(generated, asked.source, asked.mask) if generated.size == asked.source.size else generated


def _arguments(pipeline: Any, spec: ModelSpec, rows: Sequence[PreparedDrawing]) -> dict[str, Any]:
    """What the pipeline is called with, under its own names."""
    first, takes = rows[0], inspect.signature(type(pipeline).__call__).parameters
    given: dict[str, Any] = {
        "prompt": [one.drawing.prompt for one in rows],
        "width": first.width,
        "height": first.height,
        "num_inference_steps": first.drawing.steps,
        spec.call.guidance_argument: first.drawing.guidance_scale,
        # On the CPU, so that an image's noise is the same whatever the device.
        "generator": [torch.Generator("cpu").manual_seed(one.drawing.seed) for one in rows],
        "negative_prompt": _negatives(spec, rows),
        "image": None if first.source is None else _images([one.source for one in rows], spec, first.references),
        "mask_image": None if first.mask is None else _images([one.mask for one in rows], spec),
        "max_sequence_length": text_tokens(pipeline, spec),
        # Kontext else resizes its source to one of its training sizes of about a megapixel.
        "max_area": first.width * first.height,
        "_auto_resize": False,
        **spec.call.arguments,
        **steering(pipeline, spec, rows, takes),
    }
    arguments = {name: value for name, value in given.items() if name in takes and value is not None}
    if "intermediate_timesteps" in takes and first.drawing.steps != 2:
        # SANA-Sprint's default is for its two steps, and an error with any other number.
        arguments["intermediate_timesteps"] = None
    return arguments


def _images(
    images: list[Image.Image], spec: ModelSpec, references: Sequence[Image.Image] = ()
) -> list[Image.Image] | Image.Image:
    if spec.call.stitches:
        return stitch(images[0], references, spec.limits.size_multiple)
    # To a pipeline that generates one row at a time, a list is several images for that row.
    if spec.limits.max_batch == 1:
        return [images[0], *references] if references else images[0]
    return images


def _negatives(spec: ModelSpec, rows: Sequence[PreparedDrawing]) -> list[str] | None:
    given = [
        spec.call.empty_negative if one.drawing.negative_prompt is None else one.drawing.negative_prompt for one in rows
    ]
    return None if given[0] is None else given


def text_tokens(pipeline: Any, spec: ModelSpec) -> int | None:
    """``max_sequence_length``: the spec's, else what the pipeline's long text encoder was made for, 512 at the most."""
    tokenizer = getattr(pipeline, "tokenizer_2", None)
    if spec.call.max_sequence_length or tokenizer is None:
        return spec.call.max_sequence_length
    return min(512, tokenizer.model_max_length)


def steering(pipeline: Any, spec: ModelSpec, rows: Sequence[PreparedDrawing], takes: Collection[str]) -> dict[str, Any]:
    """Arguments of a call for these rows. ``takes``: the names of the arguments that the pipeline takes."""
    given: dict[str, Any] = {}
    if spec.adapters.controlnet:
        # Where a pipeline has no source, most call the control image their image.
        image = "control_image" if "control_image" in takes else "image"
        given = {
            image: [one.guides["control_image"] for one in rows],
            "controlnet_conditioning_scale": spec.adapters.controlnet.scale,
            "control_guidance_start": spec.adapters.controlnet.start,
            "control_guidance_end": spec.adapters.controlnet.end,
            "control_mode": spec.adapters.controlnet.mode,
        }
    if spec.adapters.ip_adapter:
        pipeline.set_ip_adapter_scale(spec.adapters.ip_adapter.scale)
        # A list would be several prompts of one row: such a model generates a row at a time (ModelSpec.max_batch).
        given["ip_adapter_image"] = rows[0].guides["image_prompt"]
    return given
