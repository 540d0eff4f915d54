"""Generate task: generate a shard's images from their prompts, and stage them."""

from __future__ import annotations

from prefect import task

from imagemill.data.records import StepReport
from imagemill.models.job import Job
from imagemill.tasks.runner.dispatch import draw_job
from imagemill.tasks.task_options import DRAW_TASK_OPTIONS


@task(name="generate", **DRAW_TASK_OPTIONS)
def generate(job: Job, name: str) -> StepReport:
    """Generate and stage the job's images; the report counts them and lists failures.

    ``name``: name of the task run on the dashboard.
    """
    return draw_job(job)
