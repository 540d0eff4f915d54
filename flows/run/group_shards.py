"""Shard of a judged build: generate, score and choose, step by step, and commit what comes of it; each a task run."""

from __future__ import annotations

import time

from prefect.utilities.annotations import quote

from imagemill.data.config.step_models import base_step
from imagemill.data.dataset.files.area import DATA
from imagemill.data.dataset.files.compaction import Merger
from imagemill.data.errors import BuildFailed
from imagemill.data.planning.judging.group_shard import GroupShard
from imagemill.data.planning.judging.shard_rows import ShardRow
from imagemill.data.planning.worklist import Worklist
from imagemill.data.records import SetAside
from imagemill.data.staging.store import Staging
from imagemill.data.storage.disk_errors import explain_disk_errors
from imagemill.flows.run.start_task import begin
from imagemill.flows.run.step_runs import run_step
from imagemill.tasks.ask import ask
from imagemill.tasks.build_context import Build
from imagemill.tasks.edit import edit
from imagemill.tasks.generate import generate
from imagemill.tasks.progress import Progress
from imagemill.tasks.runner.dispatch import wait_for_worker
from imagemill.tasks.score import score
from imagemill.tasks.write_groups import write_groups


def build_groups(build: Build, number: int, name: str, progress: Progress, merger: Merger) -> None:
    """Build one shard of groups, from its rows to its committed files.

    ``number``: in the plan; ``name``: on the dashboard. All runs in one of the runner's threads, as build_shard does.
    """
    started = time.monotonic()
    with Worklist.open(build.folder.plan) as worklist:
        judge = build.judge(worklist)
        shard = GroupShard(build.recipe, build.folder, build.schema, judge, worklist.groups(number))
        generated = _make_images(build, shard, name, progress)
        leaves = shard.leaves_to_write()
        rows = []
        for place, leaf in shard.places(leaves):
            plan = judge.planner.row_plan(leaf.look.planned)
            rows.append(ShardRow(plan, place.area, place.split, place.outcomes, leaf.is_partial))
        faults = list(shard.faults())
        files, set_aside = begin(write_groups, quote(build), number, name, quote(rows), quote(faults))
        shard.place(without={fault.row_key for fault in set_aside if fault.stage == "write"})
    Staging(build.folder.staged).remove(shard.touched)
    missed = [fault for fault in set_aside if fault.counts]
    kept = sum(row.area == DATA for row in rows)
    line = {"shard": name, "rows": kept, "set_aside": len(missed), "images": generated}
    progress.shard_done(set_aside, line | {"seconds": round(time.monotonic() - started, 1)}, shard.funnel())
    _stop_at_bad_row(build, missed)
    with explain_disk_errors(build.folder.disk):
        merger.add(build.first_file + number, *files)


def _make_images(build: Build, shard: GroupShard, name: str, progress: Progress) -> int:
    """Generate and score until every choice of the shard is made; returns the number of images."""
    made: set[str] = set()
    rounds: dict[str, int] = {}

    def run_name(step: str) -> str:
        rounds[step] = rounds.get(step, 0) + 1
        return f"{step} {name}" if rounds[step] == 1 else f"{step}, round {rounds[step]}, {name}"

    while True:
        shard.judge()
        if work := shard.next_work():
            failed = {}
            for step in work:
                job = build.step_job(step.step, step.drawings, step.encodings)
                task = generate if base_step(step.step) == "generate" else edit
                report = run_step(task, build, job, run_name(step.step))
                progress.step_done(report)
                failed |= report.failed
                made |= {drawing.key for drawing in step.drawings if drawing.key not in report.failed}
            shard.generated(work, failed)
        elif requests := shard.requests():
            known = shard.known_scores()
            if job := build.score_job(requests, known):
                # As run_step does: a task run that is Running has a worker.
                wait_for_worker(job)
                scores = begin(score, quote(job), run_name("score"))
            else:
                # Language models are asked about what all others let pass.
                scores = begin(ask, quote(build.ask_job(requests, known)), run_name("ask"))
            progress.scores_done(scores)
            shard.scored(scores)
        else:
            return len(made)


def _stop_at_bad_row(build: Build, set_aside: list[SetAside]) -> None:
    if set_aside and build.recipe.on_bad_row == "stop":
        first = set_aside[0]
        raise BuildFailed(f"{first.file}, line {first.line}: {first.reason} (on_bad_row is 'stop').")
