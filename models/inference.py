"""Rows and a pipeline become staged pictures, in batches of one fixed shape."""

from __future__ import annotations

import inspect
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from data.errors import BadRow, ImagemillError
from data.images import LOSSLESS, decode_picture
from data.records import Drawing, StepReport
from data.shards import read_given
from data.staging import Drawn, Staging
from models.catalog import ModelSpec
from models.job import Job
from models.loading import device_name
from models.resident import Report, resident_pipeline

ENCODERS = 2
"""Threads that encode and stage one batch while the device draws the next."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A drawing with its source picture, if it has one, ready for the device."""

    drawing: Drawing
    source: Image.Image | None
    width: int
    height: int


def draw(job: Job, report: Report) -> StepReport:
    """Draw and stage what the job asks for and is not staged yet. ``report`` is told of loads and finished pictures.

    A picture that fails is in the result's ``failed``; the others are drawn. Raises ImagemillError where the model
    itself is at fault.
    """
    started = time.perf_counter()
    staging = Staging(Path(job.staging))
    missing = [one for one in job.drawings if not staging.complete(one, job.encodings[one.key], job.spec.name)]
    if len(missing) < len(job.drawings):
        report({"kind": "reused", "pictures": len(job.drawings) - len(missing)})
    if not missing:
        return StepReport(reused=len(job.drawings))
    loads: list[dict[str, Any]] = []

    def watch(event: dict[str, Any]) -> None:
        loads.extend([event] if event["kind"] == "loaded" else [])
        report(event)

    pipeline = resident_pipeline(job.spec, watch)
    failed: dict[str, str] = {}
    with ThreadPoolExecutor(ENCODERS, thread_name_prefix="encode") as encoders:
        writes = []
        for batch in _batches(_asked(missing, staging, job.spec, failed), job.batch_size):
            pictures = _draw_apart(pipeline, job, batch, failed)
            drawn = Drawn(job.spec.name, job.batch_size, device_name(pipeline.device))
            for asked, picture in pictures:
                writes.append(
                    encoders.submit(staging.stage, picture, asked.drawing, job.encodings[asked.drawing.key], drawn)
                )
            report({"kind": "drawn", "model": job.spec.name, "pictures": len(pictures)})
        for write in writes:
            write.result()
    return StepReport(
        drawn=len(missing) - len(failed),
        reused=len(job.drawings) - len(missing),
        model_loads=len(loads),
        seconds=round(time.perf_counter() - started, 3),
        failed=failed,
        device=device_name(pipeline.device),
    )


def _asked(drawings: Sequence[Drawing], staging: Staging, spec: ModelSpec, failed: dict[str, str]) -> Iterator[Asked]:
    for drawing in drawings:
        try:
            yield _with_source(drawing, staging, spec)
        except BadRow as error:
            failed[drawing.key] = str(error)


def _with_source(drawing: Drawing, staging: Staging, spec: ModelSpec) -> Asked:
    if drawing.source is not None:
        found = staging.read(drawing.source, LOSSLESS)
        if found is None:
            raise BadRow(f"the picture to edit, {drawing.source}, is not staged")
        source = decode_picture(found[0], drawing.source)
    elif drawing.source_path is not None:
        source = decode_picture(read_given(drawing), drawing.source_path)
    else:
        return Asked(drawing, None, drawing.width, drawing.height)
    # The source's own shape, cut down to what the model can draw, unless the row says otherwise.
    width, height = ((side // spec.size_multiple or 1) * spec.size_multiple for side in source.size)
    return Asked(drawing, source, drawing.width or width, drawing.height or height)


def _batches(asked: Iterator[Asked], batch_size: int) -> Iterator[list[Asked]]:
    """Cut into batches whose rows share everything that is one argument of a call."""
    waiting: dict[tuple[Any, ...], list[Asked]] = defaultdict(list)
    for one in asked:
        shape = (
            one.width,
            one.height,
            one.source.size if one.source else None,
            one.drawing.steps,
            one.drawing.guidance_scale,
            one.drawing.negative_prompt is None,
        )
        waiting[shape].append(one)
        if len(waiting[shape]) == batch_size:
            yield waiting.pop(shape)
    yield from waiting.values()


def _draw_apart(pipeline: Any, job: Job, batch: list[Asked], failed: dict[str, str]) -> list[tuple[Asked, Image.Image]]:
    """Draw a batch; if it fails, its halves, until the pictures at fault stand alone in ``failed``."""
    try:
        pictures = draw_batch(pipeline, job.spec, batch, job.batch_size)
    except ImagemillError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a pipeline may raise, the rest of the shard goes on
        if len(batch) == 1:
            failed[batch[0].drawing.key] = f"{type(error).__name__}: {error}"
            return []
        middle = len(batch) // 2
        return [
            *_draw_apart(pipeline, job, batch[:middle], failed),
            *_draw_apart(pipeline, job, batch[middle:], failed),
        ]
    good = []
    for asked, picture in zip(batch, pictures, strict=True):
        if picture is None:
            failed[asked.drawing.key] = "the picture has values that are not numbers (NaN or infinite)"
        else:
            good.append((asked, picture))
    return good


def draw_batch(pipeline: Any, spec: ModelSpec, batch: Sequence[Asked], batch_size: int) -> list[Image.Image | None]:
    """Draw one batch, padded to ``batch_size``; None stands for a picture that is not finite.

    With one seeded generator an image and every batch of the same size, a picture's bits do not depend on its
    neighbours or its place (measured; see docs/architecture.md).
    """
    padded = [*batch, *[batch[-1]] * (batch_size - len(batch))]
    first = padded[0]
    given: dict[str, Any] = {
        "prompt": [one.drawing.prompt for one in padded],
        "width": first.width,
        "height": first.height,
        "num_inference_steps": first.drawing.steps,
        "guidance_scale": first.drawing.guidance_scale,
        # On the CPU, so that a picture's noise is the same whatever the device.
        "generator": [torch.Generator("cpu").manual_seed(one.drawing.seed) for one in padded],
        "negative_prompt": None
        if first.drawing.negative_prompt is None
        else [one.drawing.negative_prompt for one in padded],
        "image": None if first.source is None else [one.source for one in padded],
        "max_sequence_length": _text_tokens(pipeline, spec),
        # Kontext else resizes its source to one of its training sizes of about a megapixel.
        "max_area": first.width * first.height,
        "_auto_resize": False,
    }
    takes = inspect.signature(type(pipeline).__call__).parameters
    arguments = {name: value for name, value in given.items() if name in takes and value is not None}
    with torch.inference_mode():
        values = pipeline(**arguments, output_type="pt").images[: len(batch)]
        finite = torch.isfinite(values).flatten(1).all(dim=1).tolist()
        # The rounding of diffusers' own conversion to PIL, on the device: a quarter of the bytes to copy.
        pixels = (values.float().nan_to_num() * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
        array: np.ndarray = pixels.cpu().numpy()
    return [Image.fromarray(one) if good else None for one, good in zip(array, finite, strict=True)]


def _text_tokens(pipeline: Any, spec: ModelSpec) -> int | None:
    """``max_sequence_length``: the spec's, else what the pipeline's long text encoder was made for, 512 at the most."""
    tokenizer = getattr(pipeline, "tokenizer_2", None)
    if spec.max_sequence_length or tokenizer is None:
        return spec.max_sequence_length
    return min(512, tokenizer.model_max_length)
