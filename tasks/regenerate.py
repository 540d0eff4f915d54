"""Regenerate task: generate sample rows of a finished dataset again, in a scratch folder, and compare them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from prefect import task

from imagemill.data.records import Drawing, Failure
from imagemill.data.staging.store import Staging
from imagemill.data.verify.comparison import Regenerated, compare_regenerated
from imagemill.data.verify.sampling import Sampled, encodings_to_regenerate
from imagemill.models.catalog.spec import Model, Step
from imagemill.models.job import Job
from imagemill.tasks.runner.dispatch import draw_job
from imagemill.tasks.task_options import DRAW_RETRY_DELAYS_S, MAX_DRAW_RETRIES, is_worth_a_retry


@task(
    name="regenerate",
    retries=MAX_DRAW_RETRIES,
    retry_delay_seconds=list(DRAW_RETRY_DELAYS_S),
    retry_condition_fn=is_worth_a_retry,
    persist_result=False,
)
def regenerate(rows: list[Sampled], models: Mapping[Step, Model], staging: Path) -> tuple[list[Regenerated], set[str]]:
    """Generate the rows again and compare; returns results and device names. ``staging`` is removed."""
    failed: dict[str, Failure] = {}
    devices: set[str] = set()
    staging.mkdir(parents=True, exist_ok=True)
    for job in regeneration_jobs(rows, models, staging):
        report = draw_job(job)
        failed |= report.failed
        devices |= {report.device} if report.device else set()
    results = [compare_regenerated(row, Staging(staging), failed) for row in rows]
    shutil.rmtree(staging, ignore_errors=True)
    return results, devices


def regeneration_jobs(rows: list[Sampled], models: Mapping[Step, Model], staging: Path) -> list[Job]:
    """Jobs that regenerate these rows, generate before edit, each with the batch size recorded for it."""
    jobs = []
    for step in models:
        by_size: dict[int, dict[str, tuple[Sampled, Drawing]]] = {}
        for row in rows:
            drawing = {row.generate_step: row.generate, row.edit_step: row.edit}.get(step)
            if drawing is not None and row.known:
                by_size.setdefault(row.batch_size(step), {})[drawing.key] = (row, drawing)
        for batch_size, drawings in sorted(by_size.items()):
            job = Job(
                spec=models[step],
                drawings=tuple(drawing for _, drawing in drawings.values()),
                encodings={key: encodings_to_regenerate(row, drawing) for key, (row, drawing) in drawings.items()},
                batch_size=batch_size,
                # Every image is compared, even one that a check would refuse.
                checks=frozenset(),
                staging=str(staging),
                # Another batch size would give another image.
                on_oom="set_aside",
            )
            jobs.append(job)
    return jobs
