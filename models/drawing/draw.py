"""Rows and a pipeline become staged pictures, in batches of one fixed shape."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from imagemill.data.records import Drawing, StepReport
from imagemill.data.staging.in_flight import UnderWay
from imagemill.data.staging.store import Drawn, Staging, ToStage
from imagemill.models.drawing.batches import Asked, cut_batches, prepare_drawings
from imagemill.models.drawing.device_errors import DeviceLost, is_sticky
from imagemill.models.drawing.encode_pool import Encoders
from imagemill.models.drawing.quarantine import sort_out
from imagemill.models.drawing.recovery import CarefulDrawing
from imagemill.models.drawing.safety import Safety
from imagemill.models.drawing.timing import Timeline
from imagemill.models.drawing.truncation import find_truncated
from imagemill.models.job import Job
from imagemill.models.loading.pipeline import device_name, pick_device
from imagemill.models.loading.pipeline_cache import Report, resident_pipeline


def use_threads(threads: int) -> None:
    """Let torch compute with this many threads."""
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def draw(job: Job, report: Report, run: str = "once", let_go: Callable[[], None] | None = None) -> StepReport:
    """Draw and stage what the job asks for and is not staged yet. ``report`` is told of loads and finished pictures.

    The folder to stage them in must be there: where it is gone, the build has ended, and BuildFailed is raised.

    A picture that fails is in the result's ``failed``; the others are drawn. ``run`` tells one build's attempts from
    another's. ``let_go`` is called when the device has nothing more to do for this job, whose last pictures are still
    being encoded and staged: this process may draw another beside them. Raises ImagemillError where the model itself is
    at fault, DeviceLost where this process must be replaced.
    """
    started = time.perf_counter()
    staging = Staging(Path(job.staging))
    missing = staging.missing(job.drawings, job.encodings, job.spec.name)
    if len(missing) < len(job.drawings):
        report({"kind": "reused", "pictures": len(job.drawings) - len(missing)})
    told: list[dict[str, Any]] = []
    timeline = Timeline(run)

    def watch(event: dict[str, Any]) -> None:
        told.append(event)
        report(event)

    safety, failed = Safety(job, staging, watch), {}
    new = {one.key for one in missing}
    safety.look_at_staged([one for one in job.drawings if one.key not in new], failed)
    if not missing:
        return StepReport(reused=len(job.drawings), loads=_loads(told), failed=failed)
    notes = UnderWay(staging.folder, run, [one.key for one in job.drawings])
    endings = notes.endings()
    if endings:
        report({"kind": "worker_lost", "model": job.spec.name, "reason": endings[-1].reason})
    in_batches, suspects = sort_out(job, missing, endings, failed)
    with timeline.loading():
        pipeline = _load(job, watch, notes)
        safety.load()
    careful = CarefulDrawing(pipeline, job, notes.lose, failed)
    truncated = find_truncated(pipeline, job.spec, (one.prompt for one in missing))
    drawn, device = 0, device_name(pick_device())
    with Encoders(staging) as encoders:
        with timeline.sampling():
            in_batches = cut_batches(prepare_drawings(in_batches, staging, job.spec, failed), careful.most_at_once)
            one_by_one = cut_batches(prepare_drawings(suspects, staging, job.spec, failed), lambda asked: 1)
            batches = chain(in_batches, one_by_one)
            for batch in _one_ahead(batches) if any(_reads(one) for one in missing) else batches:
                with notes.note([asked.drawing.key for asked in batch]), timeline.batch():
                    good = careful.draw(batch)
                    pictures = safety.look_at_drawn(good, failed)
                to_stage = [
                    ToStage(
                        picture,
                        asked.drawing,
                        job.encodings[asked.drawing.key],
                        Drawn(job.spec.name, size, device, unsafe, truncated.get(asked.drawing.prompt)),
                    )
                    for (asked, picture, size), unsafe in pictures
                ]
                encoders.add(to_stage)
                drawn += len(pictures)
                report({"kind": "drawn", "model": job.spec.name, "pictures": len(pictures)})
                if not drawn and not good:
                    careful.check_model(batch[0])
        spent, seconds = timeline.spent(), time.perf_counter() - started
        if let_go:
            let_go()
    notes.forget()
    return StepReport(
        drawn=drawn,
        reused=len(job.drawings) - len(missing),
        loads=_loads(told),
        seconds=round(seconds, 3),
        failed=failed,
        device=device,
        truncated=sum(truncated.get(one.prompt, False) for one in missing),
        spent=replace(spent, moves=sum(event["kind"] == "moved" for event in told)),
    )


def _loads(told: Iterable[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    return tuple(event for event in told if event["kind"] == "loaded")


def _load(job: Job, report: Report, notes: UnderWay) -> Any:
    with notes.note():
        try:
            return resident_pipeline(job.spec, report, job.max_resident)
        except RuntimeError as error:
            if not is_sticky(error):
                raise
            notes.lose(f"{type(error).__name__}: {error}")
            raise DeviceLost(str(error)) from error


def _reads(drawing: Drawing) -> bool:
    return bool(drawing.source or drawing.source_path or drawing.guides)


def _one_ahead(batches: Iterator[list[Asked]]) -> Iterator[list[Asked]]:
    """The same batches; the next one's pictures are read and decoded in a thread while this one is drawn."""
    with ThreadPoolExecutor(1, thread_name_prefix="decode") as reader:
        coming = reader.submit(next, batches, None)
        while batch := coming.result():
            coming = reader.submit(next, batches, None)
            yield batch
