"""What happens when a batch fails: it is halved until the rows at fault stand alone; the others are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from PIL import Image

from data.errors import BuildFailed, ImagemillError
from data.records import Failure
from models.batches import Asked
from models.checks import find_fault
from models.job import Job
from models.pipeline_call import Outcome, draw_batch

Picture = tuple[Asked, Image.Image]


def draw_good(pipeline: Any, job: Job, batch: list[Asked], failed: dict[str, Failure]) -> list[Picture]:
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


def check_model(pipeline: Any, job: Job, like: Asked, failed: Mapping[str, Failure]) -> None:
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
