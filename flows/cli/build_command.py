"""`imagemill build` in a terminal: progress bar, summary and exit code."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from imagemill.data.config.recipe import Recipe
from imagemill.data.dataset.folder import Folder
from imagemill.data.scores.funnel import Funnel
from imagemill.data.storage.disk_errors import check_writable
from imagemill.data.storage.home import home_folder
from imagemill.data.storage.scratch import remove_scratch
from imagemill.flows.cli.watch import progress_lines
from imagemill.models.catalog.spec import loaded_here
from imagemill.tasks.build_context import resolve_models
from imagemill.tasks.progress import asking_note, truncation_note
from imagemill.tasks.runner.cluster import MachineCluster
from imagemill.tasks.runner.processes.fast_imports import fast_imports

STOPPED = "imagemill: stopped; run the same command again to continue."

STOP_TIMEOUT_S = 8.0
"""Seconds from a signal until the process ends, whatever it still waits for."""

errors = Console(stderr=True)


def run_build(
    recipe: Recipe, workers: int | None, cluster: str | None, retry_set_aside: bool, verbose: bool, watch: bool
) -> int:
    """Build the recipe's dataset and return the exit code. Raises ImagemillError.

    ``watch``: print progress as lines, and not as a bar.
    """
    # Errors that can be found now come before the seconds that Prefect takes to start.
    folder = Folder(recipe.output)
    folder.check_owner(recipe.name)
    check_writable(folder.disk)
    has_work = bool(loaded_here(resolve_models(recipe).values())) and folder.is_new
    quiet_prefect(verbose)
    os.environ.setdefault("PREFECT_INTERNAL_LOGGING_LEVEL", "ERROR" if verbose else "CRITICAL")
    stop_on_signals()
    own = MachineCluster.of(workers) if has_work and not cluster else None
    shown = progress_lines() if watch else progress_bar(show=errors.is_terminal and not verbose)
    with shown as on_start, closing(own) if own else nullcontext():
        with fast_imports():
            from imagemill.flows.prefect_server.connection import find_server, start_server_early

            start_server_early()
            from imagemill.flows.build_dataset import build_dataset
            from imagemill.tasks.runner.gpu_task_runner import GpuTaskRunner

        find_server()
        runner = GpuTaskRunner(workers, cluster, own=own, on_start=on_start)
        figures = build_dataset.with_options(task_runner=runner)(recipe, retry_set_aside)
    _print_summary(folder, figures)
    return 0


def quiet_prefect(verbose: bool = False) -> None:
    """Configure Prefect's logging and telemetry; call this before it is imported.

    Raises ImagemillError if this user has no home folder: Prefect needs to know one even to be imported.
    """
    home_folder()
    # A command-line tool sends no telemetry.
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "INFO" if verbose else "CRITICAL")
    # The check of Prefect's folder says the same, with what to do (flows/prefect_server/home_check.py).
    warnings.filterwarnings("ignore", message="Failed to create the Prefect home directory")


def stop_on_signals() -> None:
    """End the run, and the process, at Ctrl-C and SIGTERM."""
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, _stop)


def _stop(sign: int, frame: Any) -> None:
    """End the build, and the process within STOP_TIMEOUT_S: Prefect may wait for a server that Ctrl-C ended too."""

    def end_now() -> None:
        print(STOPPED, file=sys.stderr, flush=True)
        remove_scratch()
        os._exit(128 + sign)

    timer = threading.Timer(STOP_TIMEOUT_S, end_now)
    timer.daemon = True
    timer.start()
    raise KeyboardInterrupt


@contextmanager
def progress_bar(show: bool) -> Iterator[Any]:
    """Progress bar. Yields the function that starts it, to be called with the build's Progress; None without a bar."""
    if not show:
        yield None
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    waiting = "starting Prefect" if os.environ.get("PREFECT_API_URL") else "starting a Prefect server (5 to 10 s)"
    stop = threading.Event()
    with Progress(*columns, console=errors) as bar:
        line = bar.add_task(waiting, total=None, rate="")

        def follow(progress: Any) -> None:
            while not stop.wait(0.2):
                if progress.planned_scores:
                    scores = {"total": progress.planned_scores, "completed": progress.seen_scored}
                    bar.update(line, description="scoring", **scores)
                    continue
                if progress.asked and not progress.planned:
                    bar.update(line, description=f"asking language models: {asking_note(progress)}")
                    continue
                bar.update(
                    line,
                    description="generating" if progress.is_generating else "planning, starting workers",
                    total=progress.planned or None,
                    completed=progress.seen,
                    rate=f"{progress.counts()['images_per_second']:.1f} images/s" if progress.seen_generated else "",
                )

        def on_start(progress: Any) -> None:
            threading.Thread(target=follow, args=(progress,), daemon=True, name="bar").start()

        try:
            yield on_start
        finally:
            stop.set()


def _print_summary(folder: Folder, figures: dict[str, Any]) -> None:
    from imagemill.flows.run.dashboard_text import open_with

    rate = f"{figures['images_per_second']:.1f} images/s"
    generated = f"{figures['generated']:,} generated in {figures['seconds']:.0f} s ({rate})"
    if not figures["generated"]:
        generated = "nothing to generate, no model loaded"
    print(f"{folder.root}: {figures['rows']:,} rows; {generated}; {figures['set_aside']} set aside.")
    if "candidates" in figures:
        print("\n".join(f"  {line}" for line in Funnel.of_figures(figures).lines()))
    if "inverse" in figures:
        print(f"  and {figures['inverse']:,} inverse rows")
    if figures.get("asked"):
        print(f"Language models: {figures['asked']:,} requests, {figures['answered']:,} answers.")
    if figures["set_aside"]:
        print(f"Set aside, with reasons: {folder.set_aside}")
    if prompts := figures.get("prompts_truncated"):
        print(truncation_note(prompts, figures["max_prompt_tokens"]))
    for note in figures.get("notes", ()):
        print(note)
    print(f"Fingerprint: {figures['fingerprint']}")
    print(f"Contact sheet: {folder.contact_sheet}")
    print(f"View it with: imagemill view {shlex.quote(str(folder.root))}")
    names = [file["name"] for file in (folder.read_manifest() or {"files": []})["files"]]
    print(f"Open with: datasets.load_dataset({open_with(str(folder.root), names)[0]})")
