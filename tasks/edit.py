"""Edit: a shard's staged or given pictures are changed by their instructions, and staged."""

from __future__ import annotations

from prefect import task

from data.records import StepReport
from models.job import Job
from tasks.caching import DRAWING
from tasks.drawing import draw_job


@task(name="edit", **DRAWING)
def edit(job: Job, name: str) -> StepReport:
    """Draw and stage the job's edits; the report says how many, and which could not be drawn.

    ``name``: what the dashboard calls this run.
    """
    return draw_job(job)
