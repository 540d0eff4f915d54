"""Score task: run the recipe's scorers on a shard's images, and write their scores to the journal."""

from __future__ import annotations

from prefect import task

from imagemill.data.scores.records import ScoreReport
from imagemill.models.score_job import ScoreJob
from imagemill.tasks.runner.dispatch import score_job
from imagemill.tasks.task_options import DRAW_TASK_OPTIONS


@task(name="score", **DRAW_TASK_OPTIONS)
def score(job: ScoreJob, name: str) -> ScoreReport:
    """Compute the job's scores that its journal does not have yet; the report counts them and lists failures.

    ``name``: of the task run. A build with nothing to score does not begin this task.
    """
    return score_job(job)
