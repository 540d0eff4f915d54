"""Task runs of a shard's steps on a worker, and of a whole shard that is built without a choice."""

from __future__ import annotations

import time
from typing import Any

from prefect.utilities.annotations import quote

from imagemill.data.config.step_models import base_step
from imagemill.data.dataset.files.compaction import Merger
from imagemill.data.dataset.rows import unique_drawings
from imagemill.data.errors import BuildFailed
from imagemill.data.planning.reuse import restore_images
from imagemill.data.planning.worklist import Worklist
from imagemill.data.records import Failure, StepReport
from imagemill.data.storage.disk_errors import explain_disk_errors
from imagemill.flows.run.start_task import begin
from imagemill.models.job import Job
from imagemill.tasks.build_context import Build
from imagemill.tasks.edit import edit
from imagemill.tasks.generate import generate
from imagemill.tasks.progress import Progress
from imagemill.tasks.runner.dispatch import wait_for_worker
from imagemill.tasks.step_cache import finished_before
from imagemill.tasks.write_parquet import write_parquet


def run_step(step: Any, build: Build, job: Job, name: str) -> StepReport:
    """Run a step as a task run of this name; one that an earlier run has finished is Cached."""
    results, refresh = build.folder.results, build.retry_set_aside
    if refresh or finished_before(step.name, job, results) is None:
        # A task run that is Running has a worker: one that only waits would look as slow as the shard before it.
        wait_for_worker(job)
    state = begin(step, quote(job), results, refresh, name, return_state=True)
    report: StepReport = state.result()
    return report


def build_shard(build: Build, number: int, name: str, progress: Progress, merger: Merger) -> None:
    """Build one shard, from its planned rows to its committed file; each step is a task run.

    ``number``: in the plan; ``name``: on the dashboard.

    All steps run in one of the runner's threads: a task that waited for the previous one would occupy another.
    """
    with Worklist.open(build.folder.plan) as worklist:
        plans, restorable = worklist.shard(number), worklist.restorable(number)
    restore_images(build.folder, build.schema, plans, restorable)
    failed: dict[str, Failure] = {}
    started = time.monotonic()
    for step, turn in build.turns(plans):
        job = build.job(step, turn, plans, without=failed)
        suffix = f", turn {turn}," if turn > 1 else ""
        report = run_step(generate if base_step(step) == "generate" else edit, build, job, f"{step}{suffix} {name}")
        progress.step_done(report)
        failed |= report.failed
    file, set_aside = begin(write_parquet, quote(build), number, name, quote(plans), quote(failed))
    seconds = round(time.monotonic() - started, 1)
    line = {"shard": name, "rows": len(plans) - len(set_aside), "set_aside": len(set_aside)}
    progress.shard_done(set_aside, line | {"images": len(unique_drawings(plans)), "seconds": seconds})
    if set_aside and build.recipe.on_bad_row == "stop":
        first = set_aside[0]
        raise BuildFailed(f"{first.file}, line {first.line}: {first.reason} (on_bad_row is 'stop').")
    with explain_disk_errors(build.folder.disk):
        merger.add(build.first_file + number, file)
