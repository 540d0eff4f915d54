"""Generation of one job: its drawings become staged images, in batches of one fixed shape."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from imagemill.data.images.provenance.details import ModelDetails
from imagemill.data.records import Drawing, StepReport
from imagemill.data.staging.in_flight import InFlight
from imagemill.data.staging.store import Generated, StageRequest, Staging
from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.drawing.batches import PreparedDrawing, cut_batches, prepare_drawings
from imagemill.models.drawing.encode_pool import Encoders
from imagemill.models.drawing.measures.prompt_truncated import max_tokens
from imagemill.models.drawing.measuring import Measuring
from imagemill.models.drawing.proof import prove
from imagemill.models.drawing.recovery import RecoveringGenerator
from imagemill.models.job import Job
from imagemill.models.loading.load_errors import DeviceLost, is_sticky
from imagemill.models.loading.lora import lora_details
from imagemill.models.loading.pipeline import device_name, pick_device
from imagemill.models.loading.pipeline_cache import Report, lora_fits, resident_pipeline
from imagemill.models.loading.schedulers import sampler_name
from imagemill.models.running.quarantine import Work, split_suspects
from imagemill.models.running.timing import Timeline


def use_threads(threads: int) -> None:
    """Set the number of torch's threads."""
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def draw(job: Job, report: Report, run: str = "once", on_device_idle: Callable[[], None] | None = None) -> StepReport:
    """Generate and stage the job's drawings that are not staged yet. ``report`` receives its events.

    An image that fails is in the result's ``failed``; the others are generated. ``run`` separates the crashes of one
    build from another's. ``on_device_idle`` is called when the device has finished this job, while its last images are
    still encoded and staged: this process may begin another job. Raises ImagemillError if the model itself is at
    fault, BuildFailed if the folder of the staged images is missing, since the build has then ended, and DeviceLost if
    this process must be replaced.
    """
    started = time.perf_counter()
    staging = Staging(Path(job.staging))
    missing = staging.missing(job.drawings, job.encodings)
    if len(missing) < len(job.drawings):
        report({"kind": "reused", "images": len(job.drawings) - len(missing)})
    events: list[dict[str, Any]] = []
    timeline = Timeline(run)

    def emit(event: dict[str, Any]) -> None:
        events.append(event)
        report(event)

    measuring, failed = Measuring(job, staging, emit), {}
    new = {drawing.key for drawing in missing}
    measuring.check_staged([drawing for drawing in job.drawings if drawing.key not in new], failed)
    if not missing:
        return StepReport(reused=len(job.drawings), loads=_loads(events), failed=failed)
    in_flight = InFlight(staging.folder, run, [drawing.key for drawing in job.drawings])
    crashes = in_flight.crashes()
    if crashes:
        report({"kind": "worker_lost", "model": job.spec.name, "reason": crashes[-1].reason})
    by_key = {drawing.key: drawing for drawing in missing}
    none_finished = len(missing) == len(job.drawings)
    keys = split_suspects(Work(job.spec.name), [*by_key], none_finished, crashes, failed)
    in_batches, suspects = ([by_key[key] for key in group] for group in keys)
    with timeline.loading():
        pipeline = _load(job, emit, in_flight)
        measuring.load(pipeline)
    # Before the device is free for another job, which may evict the model.
    loras = lora_fits(job.spec)
    generator = RecoveringGenerator(pipeline, job, in_flight.abandon, failed)
    generated, device, details = 0, device_name(pick_device()), _details(pipeline, job.spec)
    with Encoders(staging) as encoders:
        with timeline.sampling():
            in_batches = cut_batches(prepare_drawings(in_batches, staging, job.spec, failed), generator.max_batch_of)
            one_by_one = cut_batches(prepare_drawings(suspects, staging, job.spec, failed), lambda prepared: 1)
            batches = chain(in_batches, one_by_one)
            for batch in _prefetched(batches) if any(_reads(drawing) for drawing in missing) else batches:
                with in_flight.mark([prepared.drawing.key for prepared in batch]), timeline.batch():
                    prove(pipeline, job.spec, batch[0], job.batch_size)
                    good = generator.draw(batch)
                    measured = measuring.measure([(prepared.drawing, image) for prepared, image, _ in good], failed)
                requests = [
                    StageRequest(
                        image,
                        prepared.drawing,
                        job.encodings[prepared.drawing.key],
                        Generated(job.spec.name, size, device, values, details),
                    )
                    for (prepared, image, size), values in zip(good, measured, strict=True)
                    if values is not None
                ]
                encoders.add(requests)
                generated += len(requests)
                report({"kind": "generated", "model": job.spec.name, "images": len(requests)})
                if not generated and not good:
                    generator.check_model(batch[0])
        stats = replace(timeline.stats(), seconds=round(time.perf_counter() - started, 3))
        if on_device_idle:
            on_device_idle()
    in_flight.clear()
    return StepReport(
        reused=len(job.drawings) - len(missing),
        loads=_loads(events),
        loras=loras,
        failed=failed,
        truncated=(truncated := measuring.true["prompt_truncated"]),
        max_tokens=max_tokens(pipeline, job.spec) if truncated else None,
        stats=replace(
            stats, device=device, generated=generated, moves=sum(event["kind"] == "moved" for event in events)
        ),
    )


def _loads(events: Iterable[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    return tuple(event for event in events if event["kind"] == "loaded")


def _load(job: Job, report: Report, in_flight: InFlight) -> Any:
    with in_flight.mark():
        try:
            return resident_pipeline(job.spec, report, job.max_resident)
        except RuntimeError as error:
            if not is_sticky(error):
                raise
            in_flight.abandon(f"{type(error).__name__}: {error}")
            raise DeviceLost(str(error)) from error


def _details(pipeline: Any, spec: ModelSpec) -> ModelDetails:
    strength = spec.call.arguments.get("strength")
    return ModelDetails(spec.source.version, sampler_name(pipeline), strength, lora_details(spec))


def _reads(drawing: Drawing) -> bool:
    return bool(drawing.source or drawing.source_path or drawing.guides)


def _prefetched(batches: Iterator[list[PreparedDrawing]]) -> Iterator[list[PreparedDrawing]]:
    """The same batches; a thread reads and decodes the next one's images while one is generated."""
    with ThreadPoolExecutor(1, thread_name_prefix="decode") as reader:
        upcoming = reader.submit(next, batches, None)
        while batch := upcoming.result():
            upcoming = reader.submit(next, batches, None)
            yield batch
