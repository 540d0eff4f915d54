"""Ask task: let language models judge a shard's images, and write what they say to the journal."""

from __future__ import annotations

from prefect import task

from imagemill.data.scores.records import ScoreReport
from imagemill.models.ask_job import AskJob
from imagemill.tasks.runner.judge_asks import ask_job
from imagemill.tasks.task_options import DRAW_TASK_OPTIONS


@task(name="ask", **DRAW_TASK_OPTIONS)
def ask(job: AskJob, name: str) -> ScoreReport:
    """Request the job's scores that its journal does not have yet; the report counts them and lists failures.

    ``name``: of the task run. A build with nothing to ask does not begin this task.
    """
    return ask_job(job)
