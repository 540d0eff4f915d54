"""Rows and a pipeline become staged pictures, in batches of one fixed shape."""

from __future__ import annotations

import inspect
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from data.errors import BadRow, BuildFailed, ImagemillError
from data.folder import explain_full_disk
from data.images import LOSSLESS, Encoding, decode_picture
from data.records import Drawing, Failure, StepReport
from data.shards import read_given
from data.staging import Drawn, Staging
from models.catalog import ModelSpec
from models.checks import find_fault
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


Picture = tuple[Asked, Image.Image]
Outcome = tuple[Asked, Image.Image, bool]


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
    failed: dict[str, Failure] = {}
    drawn = 0
    with ThreadPoolExecutor(ENCODERS, thread_name_prefix="encode") as encoders:
        writes = []
        for batch in _batches(_asked(missing, staging, job.spec, failed), job.batch_size):
            pictures = _draw_good(pipeline, job, batch, failed)
            how = Drawn(job.spec.name, job.batch_size, device_name(pipeline.device))
            for asked, picture in pictures:
                encodings = job.encodings[asked.drawing.key]
                writes.append(encoders.submit(_stage, staging, picture, asked.drawing, encodings, how))
            drawn += len(pictures)
            report({"kind": "drawn", "model": job.spec.name, "pictures": len(pictures)})
            if not drawn:
                _check_model(pipeline, job, batch[0], failed)
        for write in writes:
            write.result()
    return StepReport(
        drawn=drawn,
        reused=len(job.drawings) - len(missing),
        loads=tuple(loads),
        seconds=round(time.perf_counter() - started, 3),
        failed=failed,
        device=device_name(pipeline.device),
    )


def _asked(
    drawings: Sequence[Drawing], staging: Staging, spec: ModelSpec, failed: dict[str, Failure]
) -> Iterator[Asked]:
    for drawing in drawings:
        try:
            yield _with_source(drawing, staging, spec)
        except BadRow as error:
            failed[drawing.key] = Failure(str(error))


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


def _stage(staging: Staging, picture: Image.Image, drawing: Drawing, encodings: Iterable[Encoding], how: Drawn) -> None:
    with explain_full_disk(staging.folder):
        staging.stage(picture, drawing, encodings, how)


def _draw_good(pipeline: Any, job: Job, batch: list[Asked], failed: dict[str, Failure]) -> list[Picture]:
    """Draw a batch and check its pictures; a faulty one is drawn once more, with the same seed, and then set aside."""
    good, faulty = _check(_draw_apart(pipeline, job, batch, failed, 1), job)
    if faulty:
        again = _draw_apart(pipeline, job, [asked for asked, _ in faulty], failed, 2)
        better, faulty = _check(again, job)
        good += better
        failed |= {asked.drawing.key: Failure(fault, 2) for asked, fault in faulty}
    return good


def _check(pictures: list[Outcome], job: Job) -> tuple[list[Picture], list[tuple[Asked, str]]]:
    good, faulty = [], []
    for asked, picture, is_finite in pictures:
        fault = find_fault(picture, is_finite, asked.source, (asked.width, asked.height), job.checks)
        if fault:
            faulty.append((asked, fault))
        else:
            good.append((asked, picture))
    return good, faulty


def _draw_apart(pipeline: Any, job: Job, batch: list[Asked], failed: dict[str, Failure], attempt: int) -> list[Outcome]:
    """Draw a batch; if it fails, its halves, until the pictures at fault stand alone in ``failed``."""
    try:
        return draw_batch(pipeline, job.spec, batch, job.batch_size)
    except ImagemillError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a pipeline may raise, the rest of the shard goes on
        if len(batch) == 1:
            failed[batch[0].drawing.key] = Failure(f"{type(error).__name__}: {error}", attempt)
            return []
        middle = len(batch) // 2
        first = _draw_apart(pipeline, job, batch[:middle], failed, attempt + 1)
        return first + _draw_apart(pipeline, job, batch[middle:], failed, attempt + 1)


def _check_model(pipeline: Any, job: Job, like: Asked, failed: Mapping[str, Failure]) -> None:
    """Raises BuildFailed when pictures failed alike and a plain one of the same shape fails too: no row is at fault."""
    if len(failed) < 2 or len({failure.reason for failure in failed.values()}) > 1:
        return
    source = like.source and Image.new("RGB", like.source.size, "gray")
    plain = replace(like, drawing=replace(like.drawing, prompt="a picture", seed=0), source=source)
    try:
        draw_batch(pipeline, job.spec, [plain], job.batch_size)
    except Exception as error:
        raise BuildFailed(
            f"the model {job.spec.name!r} fails on every picture of {like.width} x {like.height} pixels and "
            f"{like.drawing.steps} steps, so no single row is at fault: {type(error).__name__}: {error}"
        ) from error


def draw_batch(pipeline: Any, spec: ModelSpec, batch: Sequence[Asked], batch_size: int) -> list[Outcome]:
    """Draw one batch, padded to ``batch_size``; each picture comes with whether its values were all finite.

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
    return [(one, Image.fromarray(pixels), ok) for one, pixels, ok in zip(batch, array, finite, strict=True)]


def _text_tokens(pipeline: Any, spec: ModelSpec) -> int | None:
    """``max_sequence_length``: the spec's, else what the pipeline's long text encoder was made for, 512 at the most."""
    tokenizer = getattr(pipeline, "tokenizer_2", None)
    if spec.max_sequence_length or tokenizer is None:
        return spec.max_sequence_length
    return min(512, tokenizer.model_max_length)
