"""Rows and a pipeline become staged pictures, in batches of one fixed shape."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from data.folder import explain_full_disk
from data.images import Encoding
from data.records import Drawing, Failure, StepReport
from data.staging import Drawn, Staging
from models.batches import Asked, cut_batches, prepare_drawings
from models.job import Job
from models.loading import device_name
from models.recovery import check_model, draw_good
from models.resident import Report, resident_pipeline

ENCODERS = max(2, min(8, torch.get_num_threads() // 4))
"""Threads that encode and stage one batch while the device draws the next: of this worker's share of the cores."""


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
        writes: deque[Future[None]] = deque()
        asked = prepare_drawings(missing, staging, job.spec, failed)
        for batch in _one_ahead(cut_batches(asked, job.batch_size)):
            pictures = draw_good(pipeline, job, batch, failed)
            how = Drawn(job.spec.name, job.batch_size, device_name(pipeline.device))
            for asked, picture in pictures:
                encodings = job.encodings[asked.drawing.key]
                writes.append(encoders.submit(_stage, staging, picture, asked.drawing, encodings, how))
            drawn += len(pictures)
            report({"kind": "drawn", "model": job.spec.name, "pictures": len(pictures)})
            if not drawn:
                check_model(pipeline, job, batch[0], failed)
            # Where encoding is slower than drawing, memory holds two batches and no more.
            while len(writes) > 2 * job.batch_size:
                writes.popleft().result()
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


def _one_ahead(batches: Iterator[list[Asked]]) -> Iterator[list[Asked]]:
    """The same batches; the next one's pictures are read and decoded in a thread while this one is drawn."""
    with ThreadPoolExecutor(1, thread_name_prefix="decode") as reader:
        coming = reader.submit(next, batches, None)
        while batch := coming.result():
            coming = reader.submit(next, batches, None)
            yield batch


def _stage(staging: Staging, picture: Image.Image, drawing: Drawing, encodings: Iterable[Encoding], how: Drawn) -> None:
    with explain_full_disk(staging.folder):
        staging.stage(picture, drawing, encodings, how)
