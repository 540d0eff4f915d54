"""Build a dataset: load prompts, plan, generate, edit, write Parquet, publish."""

from __future__ import annotations

import gc
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, as_completed, wait
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext

from imagemill.data.config.judging.judged import chat_scorers
from imagemill.data.config.load import load_recipe
from imagemill.data.config.recipe import Recipe
from imagemill.data.dataset.attempts import UnderWay, add_killed_run
from imagemill.data.dataset.files.compaction import Merger
from imagemill.data.dataset.folder import Folder
from imagemill.data.errors import BuildFailed, ImagemillError, RecipeError
from imagemill.data.planning.totals import Plan
from imagemill.data.planning.worklist import Worklist
from imagemill.data.storage.disk_errors import explain_disk_errors
from imagemill.flows.prefect_server.served_flow import served
from imagemill.flows.run.asking_board import asking_board
from imagemill.flows.run.cancellation import end_if_cancelled_before, ends_in_time
from imagemill.flows.run.crash_recovery import gave_up_state, lock_dataset
from imagemill.flows.run.dashboard import Board
from imagemill.flows.run.end_state import completed, failed
from imagemill.flows.run.group_shards import build_groups
from imagemill.flows.run.run_log import log_sentences
from imagemill.flows.run.run_name import given_name, models_of, run_name, tag_run
from imagemill.flows.run.run_record import record_run, run_line, stopped_by
from imagemill.flows.run.shard_names import shards_before
from imagemill.flows.run.start_task import begin
from imagemill.flows.run.step_runs import build_shard
from imagemill.flows.run.unasked import candidates_not_asked, not_asked, not_asked_about, without_removals
from imagemill.models.catalog.model_files import weights_on_disk
from imagemill.models.catalog.spec import loaded_here
from imagemill.tasks.build_context import Build, make_build, resolve_models, resolve_recipe_scorers
from imagemill.tasks.load_prompts import load_prompts
from imagemill.tasks.pinned import pin_recipe, pin_scorers, pin_threads
from imagemill.tasks.plan_shards import plan_shards
from imagemill.tasks.progress import Progress, lora_note
from imagemill.tasks.publish import publish
from imagemill.tasks.runner.gpu_task_runner import GpuTaskRunner
from imagemill.tasks.runner.judge_asks import judge_asks


# load_recipe validates the parameters, not Prefect: a bad recipe has one message, whichever way it is started.
@served
@flow(
    name="build-dataset",
    flow_run_name=run_name,
    task_runner=GpuTaskRunner(),
    persist_result=False,
    validate_parameters=False,
)
def build_dataset(
    recipe: Recipe | str,
    retry_set_aside: bool = False,
    overrides: dict[str, Any] = {},  # noqa: B006 - the dashboard's form shows a plain default; never mutated
) -> dict[str, Any] | State:
    """Build a dataset, generating only what is missing, and return the run's figures (a line of runs.jsonl).

    Args:
        recipe: The recipe's fields, or the path of a YAML file on the machine that builds.
        retry_set_aside: Retry the rows that earlier builds set aside.
        overrides: Fields that override the recipe's, by dotted name: {"generate.seed": 7}.
    """
    return build_recipe(lambda: load_recipe(recipe, overrides), retry_set_aside)


def build_recipe(
    load: Callable[[], Recipe],
    retry_set_aside: bool = False,
    explain: Callable[[RecipeError], RecipeError] = lambda error: error,
) -> dict[str, Any] | State:
    """The body of a flow that builds what ``load`` returns. ``explain``: a recipe's error in the words of its form."""
    # With Python's default of 700, the collector walks through all of Prefect's objects again and again.
    gc.set_threshold(10_000)
    log_sentences()
    end_if_cancelled_before()
    try:
        return _build(load, retry_set_aside)
    except RecipeError as error:
        return failed(explain(error))
    except ImagemillError as error:
        return failed(error)


def _build(load: Callable[[], Recipe], retry_set_aside: bool) -> State:
    try:
        recipe = load()
    except ImagemillError:
        tag_run(given_name())
        raise
    tag_run(recipe.name, models_of(recipe))
    folder, models, scorers = Folder(recipe.output), resolve_models(recipe), resolve_recipe_scorers(recipe)
    if folder.is_new and loaded_here(models.values()):
        _runner().prestart()
    with explain_disk_errors(folder.disk), lock_dataset(folder, recipe.name):
        add_killed_run(folder)
        if state := gave_up_state(folder):
            return state
        progress = Progress()
        under_way = UnderWay(folder, partial(run_line, progress))
        _listen(progress, under_way)
        under_way.begin()
        try:
            with ends_in_time():
                recipe = pin_recipe(recipe, models, folder.pin)
                pin_scorers(scorers.values(), folder.pin)
                with asking_board(recipe, progress):
                    loaded = begin(load_prompts, recipe, retry_set_aside)
                recipe = without_removals(recipe, loaded)
                build = make_build(recipe, models, loaded, retry_set_aside, scorers)
                plan = begin(plan_shards, build)
                plan = replace(plan, notes=(*loaded.notes, *plan.notes))
                _announce(plan, progress)
                board = _open_board(build, folder, plan, progress)
                with board.updated():
                    with judge_asks(folder, chat_scorers(recipe) if plan.shards else {}, retry_set_aside):
                        _build_shards(build, plan, progress)
                    devices = sorted(progress.devices)
                    published = begin(
                        publish, build, progress.set_aside, devices, progress.funnel, [*progress.loras.values()]
                    )
                    manifest, set_aside, progress.funnel, inverse = published
        except BaseException as error:
            record_run(folder, progress, **stopped_by(error))
            under_way.end()
            raise
        allowed = recipe.max_set_aside * (manifest["rows"] + set_aside)
        candidates = candidates_not_asked(progress)
        unasked = loaded.unasked.rows + len(candidates)
        figures = record_run(
            folder,
            progress,
            status="complete" if set_aside <= allowed and not unasked else "failed",
            **({"not_asked": unasked} if unasked else {}),
            rows=manifest["rows"],
            # Of a build that chooses, it is the funnel's: the images that were kept of all candidates.
            **({} if build.is_judged else {"kept": plan.reused}),
            **({} if inverse is None else {"inverse": inverse}),
            removed=plan.removed,
            set_aside=set_aside,
            fingerprint=manifest["fingerprint"],
        )
        under_way.end()
        board.finish(figures)
        folder.clear_work()
    if set_aside > allowed:
        raise BuildFailed(
            f"{set_aside} rows are set aside, more than recipe.max_set_aside allows ({recipe.max_set_aside:.0%} of "
            f"{manifest['rows'] + set_aside}); their reasons are in {folder.set_aside}. The {manifest['rows']} good "
            "rows are kept. Fix the rows, raise max_set_aside, or retry them with --retry-set-aside."
        )
    if loaded.unasked.rows:
        raise not_asked(loaded)
    if candidates:
        raise not_asked_about(candidates)
    return completed(figures)


def _runner() -> GpuTaskRunner:
    runner = FlowRunContext.get().task_runner
    if not isinstance(runner, GpuTaskRunner):
        raise BuildFailed(f"a build needs GpuTaskRunner, not {type(runner).__name__}.")
    return runner


def _listen(progress: Progress, under_way: UnderWay) -> None:
    log, runner = get_run_logger(), _runner()
    said: set[str] = set()

    def on_event(event: dict[str, Any]) -> None:
        progress.on_event(event)
        if event["kind"] in ("generated", "answered"):
            under_way.update()
        elif event["kind"] == "loaded":
            log.info("Loaded %(model)s on %(device)s in %(seconds)s s (%(gib)s GiB).", event)
            for line in sorted({lora_note(event["model"], lora) for lora in event.get("loras", ())} - said):
                said.add(line)
                log.info("%s", line)
        elif event["kind"] == "unused_weights":
            log.info("%(model)s does not use %(tensors)d of the tensors in its files, such as %(first)s.", event)
        elif event["kind"] == "worker_lost":
            log.warning("A worker process ended while it generated with %(model)s: %(reason)s", event)

    runner.listener = on_event
    if runner.on_start is not None:
        runner.on_start(progress)


def _announce(plan: Plan, progress: Progress) -> None:
    progress.plan(plan)
    log = get_run_logger()
    log.info("%d rows: %d finished already, %d to be removed.", plan.rows, plan.reused, plan.removed)
    for note in plan.notes:
        log.warning("%s", note)
    if not plan.shards:
        log.info("Nothing to generate: no model is loaded.")
        return
    images = ", ".join(f"{count} with {model}" for model, count in plan.drawings.items())
    log.info("To generate, in %d shards: %s; %d of these are in the dataset.", plan.shards, images, plan.restorable)


def _open_board(build: Build, folder: Folder, plan: Plan, progress: Progress) -> Board:
    with Worklist.open(folder.plan) as worklist:
        bad_rows = [fault for fault in worklist.faults() if fault.counts]
    return Board(build.recipe, folder, plan, bad_rows, progress, _runner().workers)


def _build_shards(build: Build, plan: Plan, progress: Progress) -> None:
    """Build the shards in a bounded window: one is edited or written while the next is generated."""
    runner, in_flight = _runner(), set()
    specs = loaded_here(build.models.values())
    is_here = all(spec.source.files for spec in specs)
    weights = weights_on_disk(Path(spec.source.location) for spec in specs) if is_here else None
    if plan.shards:
        runner.size_for(plan.shards, weights, partial(pin_threads, build.folder))
    build_one = build_groups if build.is_judged else build_shard
    merger, before = Merger(build.folder, build.first_file), shards_before()
    for number in range(plan.shards):
        while len(in_flight) >= runner.max_in_flight():
            # Whichever is written first: a slow shard keeps no worker waiting.
            done, in_flight = wait(in_flight, return_when=FIRST_COMPLETED)
            for shard in done:
                shard.result()
        name = f"{before + number + 1}/{before + plan.shards}"
        in_flight.add(runner.submit_call(build_one, build, number, name, progress, merger))
    for shard in as_completed(in_flight):
        shard.result()
