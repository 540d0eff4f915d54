"""Edit task: apply instructions to a shard's staged or given images, and stage the results."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.client.schemas.objects import State

from imagemill.data.records import StepReport
from imagemill.models.job import Job
from imagemill.tasks.step_cache import run_step
from imagemill.tasks.task_options import DRAW_TASK_OPTIONS


@task(name="edit", **DRAW_TASK_OPTIONS)
def edit(job: Job, results: Path, refresh: bool, name: str) -> StepReport | State[StepReport]:
    """Generate and stage the job's edits; the report counts them and lists failures.

    ``results``: folder of the steps' results, from which ``refresh`` takes none; ``name``: of the task run.
    """
    return run_step("edit", job, results, refresh)
