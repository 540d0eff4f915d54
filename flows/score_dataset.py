"""Score a finished dataset whose prompts may be gone: plan, score, write the scores as columns. Generates nothing."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, as_completed, wait
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.utilities.annotations import quote

from imagemill.data.dataset.attempts import UnderWay, add_killed_run
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.reader import find_finished
from imagemill.data.errors import BuildFailed, ImagemillError
from imagemill.data.messages import shown_path
from imagemill.data.planning.judging.finished.plan import ScorePlan, ScoreShard
from imagemill.data.planning.judging.finished.recipe import scoring_recipe
from imagemill.data.planning.judging.finished.shard import stage_shard, staging_folder
from imagemill.data.planning.worklist import Worklist
from imagemill.data.records import Failure
from imagemill.data.storage.disk_errors import explain_disk_errors
from imagemill.flows.prefect_server.served_flow import served
from imagemill.flows.run.cancellation import end_if_cancelled_before, ends_in_time
from imagemill.flows.run.crash_recovery import lock_dataset
from imagemill.flows.run.end_state import completed, failed
from imagemill.flows.run.run_log import log_sentences
from imagemill.flows.run.run_record import record_run, run_line, stopped_by
from imagemill.flows.run.start_task import begin
from imagemill.tasks.pinned import pin_scorers
from imagemill.tasks.progress import Progress
from imagemill.tasks.runner.gpu_task_runner import GpuTaskRunner
from imagemill.tasks.score import score
from imagemill.tasks.score_finished import FinishedScoring, plan_finished, publish_finished, resolve_asked

MAX_REASONS = 3
"""Reasons why an image has no score that a run's figures list; they count all."""


@dataclass
class _Unscored:
    """Images that could not be scored. Thread-safe."""

    images: set[str] = field(default_factory=set)
    """Their image keys."""
    reasons: list[str] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def add(self, image_key: str, scorer: str, failure: Failure) -> None:
        """Count an image, and keep the first reasons."""
        with self._lock:
            self.images.add(image_key)
            if len(self.reasons) < MAX_REASONS:
                self.reasons.append(f"image {image_key}, scorer {scorer}: {failure.reason}")


@served
@flow(
    name="score-dataset",
    flow_run_name="score {output}",
    task_runner=GpuTaskRunner(),
    persist_result=False,
    validate_parameters=False,
)
def score_dataset(
    output: str,
    recipe: dict[str, Any] | str,
    overrides: dict[str, Any] = {},  # noqa: B006 - as build_dataset has it; never mutated
) -> dict[str, Any] | State:
    """Score the images of a finished dataset, rejected ones included, and return the run's figures.

    Args:
        output: Folder or URL of the dataset.
        recipe: The recipe's fields, or the path of a YAML file; only its scorers, and how they run, count.
        overrides: Fields that override the recipe's, by dotted name.
    """
    log_sentences()
    end_if_cancelled_before()
    try:
        return _score(output, recipe, overrides)
    except ImagemillError as error:
        return failed(error)


def _score(output: str, source: Mapping[str, Any] | str, overrides: Mapping[str, Any]) -> State:
    folder, manifest = find_finished(output)
    recipe = scoring_recipe(folder, manifest, source, overrides)
    scorers = resolve_asked(recipe)
    with explain_disk_errors(folder.disk), lock_dataset(folder, manifest["name"]):
        # Again: another run may have ended in between.
        manifest = folder.read_manifest() or manifest
        add_killed_run(folder)
        progress, unscored = Progress(), _Unscored()
        under_way = UnderWay(folder, partial(run_line, progress))
        _runner().listener = progress.on_event
        if (on_start := _runner().on_start) is not None:
            on_start(progress)
        under_way.begin()
        try:
            with ends_in_time():
                pin_scorers(scorers.values(), folder.pin)
                scoring = FinishedScoring.of(recipe, scorers)
                plan = begin(plan_finished, quote(scoring), quote(manifest))
                _announce(plan, progress)
                _score_shards(scoring, plan, progress, unscored)
                manifest, settled = begin(publish_finished, quote(scoring))
        except BaseException as error:
            record_run(folder, progress, **stopped_by(error), scored=progress.scored)
            under_way.end()
            raise
        allowed = recipe.asked.max_set_aside * plan.rows
        figures = record_run(
            folder,
            progress,
            status="complete" if len(unscored.images) <= allowed else "failed",
            rows=manifest["rows"],
            scored=progress.scored,
            unscored=len(unscored.images),
            reasons=unscored.reasons,
            rewritten_bytes=settled.rewritten_bytes,
            fingerprint=manifest["fingerprint"],
        )
        under_way.end()
        _clear(folder, scoring)
    if len(unscored.images) > allowed:
        raise BuildFailed(
            f"{len(unscored.images):,} images could not be scored, more than recipe.max_set_aside allows "
            f"({recipe.asked.max_set_aside:.0%} of {plan.rows:,}). The first: {unscored.reasons[0]}. All other scores "
            f"are in {shown_path(folder.root)}; the same command tries these again."
        )
    return completed(figures)


def _runner() -> GpuTaskRunner:
    runner = FlowRunContext.get().task_runner
    if not isinstance(runner, GpuTaskRunner):
        raise BuildFailed(f"score_dataset needs GpuTaskRunner, not {type(runner).__name__}.")
    return runner


def _announce(plan: ScorePlan, progress: Progress) -> None:
    log = get_run_logger()
    progress.notes, progress.planned_scores = tuple(plan.notes()), sum(plan.lacking.values())
    scores = ", ".join(f"{count} by {name}" for name, count in plan.lacking.items())
    log.info("%d rows; to score, in %d shards: %s.", plan.rows, len(plan.shards), scores or "nothing")
    for note in progress.notes:
        log.warning("%s", note)


def _score_shards(scoring: FinishedScoring, plan: ScorePlan, progress: Progress, unscored: _Unscored) -> None:
    """Score the shards in a bounded window: the images of one are staged while another is scored."""
    runner, in_flight = _runner(), set()
    for number, shard in enumerate(plan.shards):
        while len(in_flight) >= runner.max_in_flight():
            done, in_flight = wait(in_flight, return_when=FIRST_COMPLETED)
            for one in done:
                one.result()
        name = f"score {number + 1}/{len(plan.shards)}"
        in_flight.add(runner.submit_call(_score_shard, scoring, number, shard, name, progress, unscored))
    for one in as_completed(in_flight):
        one.result()


def _score_shard(
    scoring: FinishedScoring, number: int, shard: ScoreShard, name: str, progress: Progress, unscored: _Unscored
) -> None:
    folder = scoring.folder
    with explain_disk_errors(folder.disk), Worklist.open(scoring.worklist) as worklist:
        staged = stage_shard(folder, scoring.looking(), worklist.connection, number, shard)
    if staged.requests:
        report = begin(score, quote(scoring.job(staged)), name)
        progress.scores_done(report)
        for scorer, requests in staged.requests.items() if report.failed else ():
            for request in requests:
                if failure := report.failed.get(request.id):
                    unscored.add(request.image_key, scorer, failure)
    staged.remove()


def _clear(folder: Folder, scoring: FinishedScoring) -> None:
    """Remove the work files of this run; those of a build that was interrupted stay."""
    shutil.rmtree(staging_folder(folder), ignore_errors=True)
    for path in scoring.worklist.parent.glob(f"{scoring.worklist.name}*"):
        path.unlink(missing_ok=True)
    for left in (folder.staged, folder.tmp, folder.results):
        # Empty unless a build has left something.
        with suppress(OSError):
            left.rmdir()
