"""Generate: a shard's pictures are drawn from their prompts and staged."""

from __future__ import annotations

from prefect import task

from data.records import StepReport
from models.job import Job
from tasks.caching import DRAWING
from tasks.drawing import draw_job


@task(name="generate", **DRAWING)
def generate(job: Job, name: str) -> StepReport:
    """Draw and stage the job's pictures; the report says how many, and which could not be drawn.

    ``name``: what the dashboard calls this run.
    """
    return draw_job(job)
