"""Task runs of a shard's steps on a worker."""

from __future__ import annotations

from typing import Any

from prefect.utilities.annotations import quote

from imagemill.data.records import StepReport
from imagemill.flows.run.start_task import begin
from imagemill.models.job import Job
from imagemill.tasks.build_context import Build
from imagemill.tasks.runner.dispatch import wait_for_worker
from imagemill.tasks.step_cache import finished_before


def run_step(step: Any, build: Build, job: Job, name: str) -> StepReport:
    """Run a step as a task run of this name; one that an earlier run has finished is Cached."""
    results, refresh = build.folder.results, build.retry_set_aside
    if refresh or finished_before(step.name, job, results) is None:
        # A task run that is Running has a worker: one that only waits would look as slow as the shard before it.
        wait_for_worker(job)
    state = begin(step, quote(job), results, refresh, name, return_state=True)
    report: StepReport = state.result()
    return report
