"""`imagemill score`: scores for a finished dataset, whose prompts may be gone."""

from __future__ import annotations

import json as as_json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from imagemill.data.config.load import parse_assignment
from imagemill.flows.cli.cluster import Gpus, check_cluster
from imagemill.flows.cli.recipe_flags import Assignments
from imagemill.tasks.runner.processes.fast_imports import fast_imports

if TYPE_CHECKING:
    from imagemill.data.dataset.folder import Folder


def add_commands(app: App) -> None:
    """Register the command."""
    app.command(score)


def score(
    output: Annotated[str, Parameter(help="Folder or URL of a dataset that imagemill built.")],
    /,
    *,
    recipe: Annotated[
        Path, Parameter(help="YAML file with 'scorers' alone, or a whole recipe, whose steps are ignored.")
    ],
    set: Assignments = None,
    workers: Annotated[int | None, Parameter(help="Worker processes. By default one per GPU, or one on CPU.")] = None,
    gpus: Gpus = None,
    cluster: Annotated[
        str | None,
        Parameter(
            env_var="IMAGEMILL_CLUSTER",
            help="Address of a running Dask scheduler, such as tcp://127.0.0.1:8786.",
        ),
    ] = None,
    json: Annotated[bool, Parameter(name="--json", help="Print one JSON object.")] = False,
    verbose: Annotated[bool, Parameter(alias="-v", help="Show Prefect's log.")] = False,
) -> int:
    """Score the images of a finished dataset and write the scores as columns. The prompts are not needed.

    Nothing is generated, and no choice is made again: rows, their places and the fingerprint stay. Scores that the
    dataset has already are not computed again.

    Exits with 0 when all images are scored, 1 when they are not, 2 for a bad recipe.
    """
    check_cluster(cluster, gpus)
    overrides = dict(parse_assignment(text) for text in set or ())
    from imagemill.data.dataset.reader import find_finished
    from imagemill.data.planning.judging.finished.recipe import scoring_recipe
    from imagemill.data.storage.disk_errors import check_writable
    from imagemill.flows.cli.build_command import errors, progress_bar, quiet_prefect, stop_on_signals

    # Errors that can be found now come before the seconds that Prefect takes to start.
    folder, manifest = find_finished(output)
    folder.check_owner(manifest["name"])
    scoring_recipe(folder, manifest, str(recipe), overrides)
    check_writable(folder.disk)
    quiet_prefect(verbose)
    os.environ.setdefault("PREFECT_INTERNAL_LOGGING_LEVEL", "ERROR" if verbose else "CRITICAL")
    stop_on_signals()
    with progress_bar(show=errors.is_terminal and not verbose) as on_start:
        with fast_imports():
            from imagemill.flows.prefect_server.connection import find_server, start_server_early

            start_server_early()
            from imagemill.flows.score_dataset import score_dataset
            from imagemill.tasks.runner.gpu_task_runner import GpuTaskRunner

        find_server()
        runner = GpuTaskRunner(workers, cluster, on_start=on_start)
        figures = score_dataset.with_options(task_runner=runner)(output, str(recipe), overrides)
    if json:
        print(as_json.dumps({"output": output, **figures}, indent=2, ensure_ascii=False))
    else:
        _print_summary(folder, figures)
    return 0


def _print_summary(folder: Folder, figures: dict[str, Any]) -> None:
    scored = f"{figures['scored']:,} scores computed in {figures['seconds']:.0f} s"
    print(f"{folder.root}: {figures['rows']:,} rows; {scored if figures['scored'] else 'nothing to score'}.")
    if figures["unscored"]:
        print(f"{figures['unscored']:,} images could not be scored, and the same command tries them again:")
    for reason in figures["reasons"]:
        print(f"  {reason}")
    for note in figures.get("notes", ()):
        print(note)
    print(f"Fingerprint, as before: {figures['fingerprint']}")
