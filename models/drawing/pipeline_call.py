"""One call of a diffusers pipeline: a batch of rows in, images out."""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch
from PIL import Image

from imagemill.data.errors import RecipeError
from imagemill.data.messages import shown
from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.drawing.batches import PreparedDrawing
from imagemill.models.drawing.framing import stitch
from imagemill.models.drawing.seed_guard import all_noise_is_seeded
from imagemill.models.loading.acceleration import cache_steps, within_graph_limit

Outcome = tuple[PreparedDrawing, Image.Image, bool]
"""A row, its image, and whether all of the image's values were finite."""

MIN_SOURCE_SIDE = 512
"""Smallest ``output_resolution``. Qwen3-VL enlarges images of fewer than 65,536 pixels, and then their tokens no longer
match those of the autoencoder."""


def draw_batch(pipeline: Any, spec: ModelSpec, batch: Sequence[PreparedDrawing], batch_size: int) -> list[Outcome]:
    """Generate one batch, padded to ``batch_size``.

    With one seeded generator an image and every batch of the same size, an image's bits do not depend on its
    neighbours or its place (measured; see docs/architecture.md).
    """
    padded = [*batch, *[batch[-1]] * (batch_size - len(batch))]
    arguments = arguments_of_call(pipeline, spec, padded)
    cache_steps(pipeline, spec.speed, spec.name, padded[0].drawing.steps)
    with (
        torch.inference_mode(),
        within_graph_limit(spec.speed, spec.name),
        all_noise_is_seeded(pipeline, spec.name),
        _ended(pipeline),
    ):
        values = pipeline(**arguments, output_type="pt").images[: len(batch)]
        # Image by image: a whole batch exceeds a processor's cache, and takes twice the memory.
        pixels = [_to_bytes(image) for image in values]
        # NaN and infinity make the sum non-finite: one value per image to check, not each.
        finite = torch.stack([image.sum(dtype=torch.float32) for image in values]).isfinite().tolist()
        array: np.ndarray = torch.stack(pixels).cpu().numpy()
    images = [Image.fromarray(pixels) for pixels in array]
    if spec.call.keep_unmasked:
        images = [_keep_unmasked(prepared, image) for prepared, image in zip(batch, images, strict=True)]
    return list(zip(batch, images, finite, strict=True))


@contextmanager
def _ended(pipeline: Any) -> Iterator[None]:
    """If the call fails, do what a pipeline does at its end.

    With offload its parts leave the device, and a step cache forgets the call, whose steps the next would continue.
    """
    try:
        yield
    except Exception:
        # On a lost device this fails too; the first error is the one to report.
        with suppress(RuntimeError):
            getattr(pipeline, "maybe_free_model_hooks", bool)()
        raise


def _to_bytes(values: torch.Tensor) -> torch.Tensor:
    """One image, 3 or 4 x height x width from 0 to 1, as height x width x 3 of uint8, rounded as diffusers does."""
    # On the device: that leaves a quarter of the bytes to copy.
    scaled = opaque(values.float().nan_to_num()).mul_(255).round_().clamp_(0, 255)
    return scaled.to(torch.uint8).permute(1, 2, 0).contiguous()


def opaque(values: torch.Tensor) -> torch.Tensor:
    """An image, channels x height x width from 0 to 1, without its transparency: on white, as sources are read."""
    if len(values) != 4:
        return values
    colours, alpha = values[:3], values[3:]
    return colours * alpha + (1 - alpha)


def _keep_unmasked(prepared: PreparedDrawing, generated: Image.Image) -> Image.Image:
    """The generated image with the source's own pixels where the mask is black."""
    source = prepared.source
    # An image of a wrong size is left to the checks.
    return Image.composite(generated, source, prepared.mask) if generated.size == source.size else generated


def arguments_of_call(pipeline: Any, spec: ModelSpec, rows: Sequence[PreparedDrawing]) -> dict[str, Any]:
    """Arguments of the call, under the pipeline's names."""
    check_steps(pipeline, spec, rows[0].drawing.steps)
    first, takes = rows[0], inspect.signature(type(pipeline).__call__).parameters
    values: dict[str, Any] = {
        "prompt": [row.drawing.prompt for row in rows],
        "width": first.width,
        "height": first.height,
        "num_inference_steps": first.drawing.steps,
        spec.call.guidance_argument: first.drawing.guidance_scale,
        # On the CPU, so that an image's noise is the same whatever the device.
        "generator": [torch.Generator("cpu").manual_seed(row.drawing.seed) for row in rows],
        "negative_prompt": _negatives(spec, rows),
        "image": None if first.source is None else _images([row.source for row in rows], spec, first.references),
        "mask_image": None if first.mask is None else _images([row.mask for row in rows], spec),
        "max_sequence_length": text_tokens(pipeline, spec),
        # Otherwise Kontext resizes its source to one of its training sizes of about a megapixel.
        "max_area": first.width * first.height,
        "_auto_resize": False,
        # Side of the square whose area Qwen-Image 2.1 scales its sources to: that of the image.
        "output_resolution": max(MIN_SOURCE_SIDE, round(math.sqrt(first.width * first.height))),
        **spec.call.arguments,
        **steering(pipeline, spec, rows, takes),
    }
    arguments = {name: value for name, value in values.items() if name in takes and value is not None}
    if "intermediate_timesteps" in takes and first.drawing.steps != 2:
        # SANA-Sprint's default is for two steps, and an error with any other number.
        arguments["intermediate_timesteps"] = None
    return arguments


def check_steps(pipeline: Any, spec: ModelSpec, steps: int | None) -> None:
    """Raise RecipeError where a model's makers fixed another number of steps: its pipeline would ignore this one."""
    sigmas = pipeline.config.get("sample_sigmas") if hasattr(pipeline, "config") else None
    if sigmas and len(sigmas) != steps:
        raise RecipeError(
            f"the model {shown(spec.name)} generates in {len(sigmas)} steps, which its model_index.json fixes as "
            f"sample_sigmas, and this image has {steps}: set steps: {len(sigmas)}."
        )


def _images(
    images: list[Image.Image], spec: ModelSpec, references: Sequence[Image.Image] = ()
) -> list[Image.Image] | Image.Image:
    if spec.call.stitches:
        return stitch(images[0], references, spec.limits.size_multiple)
    # For a pipeline that generates one row at a time, a list is several images of that row.
    if spec.limits.max_batch == 1:
        return [images[0], *references] if references else images[0]
    return images


def _negatives(spec: ModelSpec, rows: Sequence[PreparedDrawing]) -> list[str] | None:
    negatives = [row.drawing.negative_prompt for row in rows]
    negatives = [spec.call.empty_negative if negative is None else negative for negative in negatives]
    return None if negatives[0] is None else negatives


def text_tokens(pipeline: Any, spec: ModelSpec) -> int | None:
    """``max_sequence_length``: the spec's, or that of the pipeline's long text encoder, at most 512."""
    tokenizer = getattr(pipeline, "tokenizer_2", None)
    if spec.call.max_sequence_length or tokenizer is None:
        return spec.call.max_sequence_length
    return min(512, tokenizer.model_max_length)


def steering(pipeline: Any, spec: ModelSpec, rows: Sequence[PreparedDrawing], takes: Collection[str]) -> dict[str, Any]:
    """Arguments of a call with a ControlNet or an IP-Adapter. ``takes``: names of the pipeline's arguments."""
    values: dict[str, Any] = {}
    controlnet, ip_adapter = spec.adapters.controlnet, spec.adapters.ip_adapter
    if controlnet:
        # Most pipelines without a source call the control image `image`.
        image = "control_image" if "control_image" in takes else "image"
        values = {
            image: [row.guides["control_image"] for row in rows],
            "controlnet_conditioning_scale": controlnet.scale,
            "control_guidance_start": controlnet.start,
            "control_guidance_end": controlnet.end,
            "control_mode": controlnet.mode,
        }
    if ip_adapter:
        pipeline.set_ip_adapter_scale(ip_adapter.scale)
        # A list would be several prompts of one row: such a model generates a row at a time (Limits.max_batch).
        values["ip_adapter_image"] = rows[0].guides["image_prompt"]
    return values
