"""Regenerate: a few rows of a finished dataset are regenerated, aside, and held against what the dataset has."""

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
from imagemill.tasks.task_options import is_worth_a_retry


@task(
    name="regenerate",
    retries=2,
    retry_delay_seconds=[2, 20],
    retry_condition_fn=is_worth_a_retry,
    persist_result=False,
)
def regenerate(rows: list[Sampled], models: Mapping[Step, Model], staging: Path) -> tuple[list[Regenerated], set[str]]:
    """Generate the rows again and compare; returns the results and the devices that drew. ``staging`` is removed."""
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
    """What to draw for these rows, generating before editing, each with the batch size that is recorded beside it."""
    jobs = []
    for step in models:
        by_size: dict[int, dict[str, tuple[Sampled, Drawing]]] = {}
        for row in rows:
            drawing = row.generate if step == "generate" else row.edit if step == row.edit_step else None
            if drawing is not None and row.known:
                by_size.setdefault(row.batch_size(step), {})[drawing.key] = (row, drawing)
        for batch_size, asked in sorted(by_size.items()):
            job = Job(
                spec=models[step],
                drawings=tuple(drawing for _, drawing in asked.values()),
                encodings={key: encodings_to_regenerate(row, drawing) for key, (row, drawing) in asked.items()},
                batch_size=batch_size,
                # What it generates is compared, whatever it is.
                checks=frozenset(),
                staging=str(staging),
                # With another batch size it would not be the same image.
                on_oom="set_aside",
            )
            jobs.append(job)
    return jobs
