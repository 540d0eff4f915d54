"""Generate: a shard's pictures are drawn from their prompts and staged."""

from __future__ import annotations

from prefect import task

from imagemill.data.records import StepReport
from imagemill.models.job import Job
from imagemill.tasks.runner.dispatch import draw_job
from imagemill.tasks.task_options import DRAWING


@task(name="generate", **DRAWING)
def generate(job: Job, name: str) -> StepReport:
    """Draw and stage the job's pictures; the report says how many, and which could not be drawn.

    ``name``: what the dashboard calls this run.
    """
    return draw_job(job)
