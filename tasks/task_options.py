"""The cache key of a shard's step: what it asks for, and nothing of when, where or by which run.

Prefect's own policies do not fit: the default includes the run's id, so it never resumes across runs; INPUTS alone
lets two tasks with equal inputs share a result; TASK_SOURCE does not see the functions that a task calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prefect.cache_policies import CachePolicy
from prefect.context import TaskRunContext

from imagemill.data.errors import ImagemillError
from imagemill.data.identity import digest
from imagemill.models.drawing.measure import registry
from imagemill.models.job import Job


@dataclass
class StepCachePolicy(CachePolicy):
    """Equal for two runs of a step that would stage the same images in the same encodings."""

    def compute_key(
        self, task_ctx: TaskRunContext, inputs: dict[str, Any], flow_parameters: dict[str, Any], **kwargs: Any
    ) -> str:
        """The key, from the task's ``job``: image keys hold all that decides pixels, batch size does not count."""
        job: Job = inputs["job"]
        staged = [(one.key, [encoding.name for encoding in job.encodings[one.key]]) for one in job.drawings]
        # A measure that is new measures staged images too, so that the step must run again.
        measured = [item for item in sorted(job.measures.items()) if not registry()[item[0]].needs_pipeline]
        return f"{task_ctx.task.name}-{digest([*staged, *measured])}"


def is_worth_a_retry(task: Any, task_run: Any, state: Any) -> bool:
    """Whether trying again can help: not where the recipe, the input or the folder is at fault."""
    return not isinstance(state.result(raise_on_failure=False), ImagemillError)


DRAW_TASK_OPTIONS: dict[str, Any] = {
    "task_run_name": "{name}",
    "retries": 2,
    "retry_delay_seconds": [2, 20],
    "retry_condition_fn": is_worth_a_retry,
    "cache_policy": StepCachePolicy(),
    "persist_result": True,
}
"""What the tasks that draw have in common."""
