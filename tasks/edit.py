"""Edit task: apply instructions to a shard's staged or given images, and stage the results."""

from __future__ import annotations

from prefect import task

from imagemill.data.records import StepReport
from imagemill.models.job import Job
from imagemill.tasks.runner.dispatch import draw_job
from imagemill.tasks.task_options import DRAW_TASK_OPTIONS


@task(name="edit", **DRAW_TASK_OPTIONS)
def edit(job: Job, name: str) -> StepReport:
    """Generate and stage the job's edits; the report counts them and lists failures.

    ``name``: name of the task run on the dashboard.
    """
    return draw_job(job)
