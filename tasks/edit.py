"""Edit: a shard's staged or given pictures are changed by their instructions, and staged."""

from __future__ import annotations

from prefect import task

from data.records import StepReport
from models.job import Job
from tasks.caching import StepCache, is_worth_a_retry
from tasks.gpu_runner import draw_on_gpu


@task(
    name="edit",
    retries=2,
    retry_delay_seconds=[2, 20],
    retry_condition_fn=is_worth_a_retry,
    cache_policy=StepCache(),
    persist_result=True,
)
def edit(job: Job) -> StepReport:
    """Draw and stage the job's edits; the report says how many, and which could not be drawn."""
    return draw_on_gpu(job)
