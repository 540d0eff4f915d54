"""Options of the tasks that generate, score and write images: their names on the dashboard and their retries."""

from __future__ import annotations

from typing import Any

from imagemill.data.errors import ImagemillError

MAX_DRAW_RETRIES = 2
"""Retries of a task that generates or scores images, after an error that may be temporary."""

DRAW_RETRY_DELAYS_S = (2, 20)
"""Seconds before each of them."""


MAX_WRITE_RETRIES = 2
"""Retries of a task that writes Parquet, after an error that may be temporary."""

WRITE_RETRY_DELAYS_S = (1, 10)
"""Seconds before each of them."""


def is_worth_a_retry(task: Any, task_run: Any, state: Any) -> bool:
    """True if a retry can help: not if the recipe, the input or the folder is at fault."""
    return not isinstance(state.result(raise_on_failure=False), ImagemillError)


DRAW_TASK_OPTIONS: dict[str, Any] = {
    "task_run_name": "{name}",
    "retries": MAX_DRAW_RETRIES,
    "retry_delay_seconds": list(DRAW_RETRY_DELAYS_S),
    "retry_condition_fn": is_worth_a_retry,
    # tasks/step_cache.py keeps the result of generate and edit, the journal that of score.
    "persist_result": False,
}
"""Options of the tasks generate, edit and score."""

WRITE_TASK_OPTIONS: dict[str, Any] = {
    "name": "write parquet",
    "task_run_name": "write {name}",
    "retries": MAX_WRITE_RETRIES,
    "retry_delay_seconds": list(WRITE_RETRY_DELAYS_S),
    "retry_condition_fn": is_worth_a_retry,
    "persist_result": False,
}
"""Options of the tasks that write a shard."""
