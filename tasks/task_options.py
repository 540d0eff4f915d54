"""Cache key and retries of the tasks that generate images.

The cache key of a shard's step covers its images, not the run, time or machine. Prefect's policies do not fit: the
default includes the run's id, so it never resumes across runs; INPUTS alone lets two tasks with equal inputs share a
result; TASK_SOURCE does not see the functions that a task calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prefect.cache_policies import CachePolicy
from prefect.context import TaskRunContext

from imagemill.data.errors import ImagemillError
from imagemill.data.identity import digest
from imagemill.models.drawing.measure_registry import registry
from imagemill.models.job import Job

MAX_DRAW_RETRIES = 2
"""Retries of a task that generates images, after an error that may be temporary."""

DRAW_RETRY_DELAYS_S = (2, 20)
"""Seconds before each of them."""


@dataclass
class StepCachePolicy(CachePolicy):
    """Cache policy with equal keys for two runs of a step that would stage the same images in the same encodings."""

    def compute_key(
        self, task_ctx: TaskRunContext, inputs: dict[str, Any], flow_parameters: dict[str, Any], **kwargs: Any
    ) -> str:
        """The key of the task's ``job``: image keys cover all that decides pixels; batch size does not count."""
        job: Job = inputs["job"]
        staged = [(drawing.key, [encoding.name for encoding in job.encodings[drawing.key]]) for drawing in job.drawings]
        # A measure that is new measures staged images too, so that the step must run again.
        measured = [item for item in sorted(job.measures.items()) if not registry()[item[0]].needs_pipeline]
        return f"{task_ctx.task.name}-{digest([*staged, *measured])}"


def is_worth_a_retry(task: Any, task_run: Any, state: Any) -> bool:
    """Whether a retry can help: not if the recipe, the input or the folder is at fault."""
    return not isinstance(state.result(raise_on_failure=False), ImagemillError)


DRAW_TASK_OPTIONS: dict[str, Any] = {
    "task_run_name": "{name}",
    "retries": MAX_DRAW_RETRIES,
    "retry_delay_seconds": list(DRAW_RETRY_DELAYS_S),
    "retry_condition_fn": is_worth_a_retry,
    "cache_policy": StepCachePolicy(),
    "persist_result": True,
}
"""Options of the tasks generate and edit."""
