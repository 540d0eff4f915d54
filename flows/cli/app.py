"""The `imagemill` command.

Imports at the top are those that every command needs: `imagemill --help` must not wait for Prefect or torch.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter, validators

from imagemill.data.config.chain import chain_of
from imagemill.data.errors import ImagemillError, RecipeError
from imagemill.data.messages import shown_path
from imagemill.flows.cli import export_command, push, score_command, scores, setup_prefect, view
from imagemill.flows.cli.cluster import Gpus, add_commands, check_cluster
from imagemill.flows.cli.exit import end_at_once, exit_with
from imagemill.flows.cli.recipe_flags import Assignments, Flags, RecipeFile, bad_flag, load_command_line
from imagemill.models.library_messages import collected
from imagemill.tasks.runner.processes.fork_server import stop_fork_server

app = App(
    name="imagemill",
    help="Build image datasets with diffusion models: reproducible, resumable, each image generated once.",
    version=lambda: version("imagemill"),
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(negative=()),
)

add_commands(app)
export_command.add_commands(app)
push.add_commands(app)
scores.add_commands(app)
score_command.add_commands(app)
setup_prefect.add_commands(app)
view.add_commands(app)
app.register_install_completion_command(
    help="Install completion of commands and options for your shell: bash, zsh or fish."
)


Workers = Annotated[
    int | None,
    Parameter(help="Worker processes. By default one per GPU; on CPU, a number chosen for throughput."),
]
Cluster = Annotated[
    str | None,
    Parameter(
        env_var="IMAGEMILL_CLUSTER",
        help="Address of a running Dask scheduler, such as tcp://127.0.0.1:8786; models stay loaded on its workers.",
    ),
]
RetrySetAside = Annotated[bool, Parameter(help="Retry the rows that earlier builds set aside.")]
Output = Annotated[str, Parameter(help="Folder or URL of a dataset that imagemill built.")]
Json = Annotated[bool, Parameter(name="--json", help="Print one JSON object.")]


@app.command
def build(
    recipe: RecipeFile = None,
    /,
    *,
    set: Assignments = None,
    flags: Flags = None,
    workers: Workers = None,
    gpus: Gpus = None,
    cluster: Cluster = None,
    retry_set_aside: RetrySetAside = False,
    verbose: Annotated[bool, Parameter(alias="-v", help="Show Prefect's log.")] = False,
    watch: Annotated[bool, Parameter(help="Print progress as lines, with the time left, instead of a bar.")] = False,
) -> int:
    """Build a dataset, generating only what is missing.

    Exits with 0 when the dataset is complete, 1 when it is not, 2 for a bad recipe.
    """
    checked = load_command_line(recipe, set, flags)
    check_cluster(cluster, gpus)
    generates_here = any(link.section.backend == "diffusers" for link in chain_of(checked)) and not cluster
    if not generates_here or (Path(checked.output) / "manifest.json").exists():
        # flows/cli/main.py has started it for workers on this machine; there may be nothing to generate here.
        stop_fork_server()
    from imagemill.flows.cli.build_command import run_build

    return run_build(checked, workers, cluster, retry_set_aside, verbose, watch)


@app.command
def plan(
    recipe: RecipeFile = None,
    /,
    *,
    set: Assignments = None,
    flags: Flags = None,
    retry_set_aside: RetrySetAside = False,
    json: Json = False,
) -> int:
    """Predict the work, time and disk space of a build. Nothing is generated, loaded or written.

    Exits with 0 when it has a plan, 1 if the output folder or the prompts cannot be used, 2 for a bad recipe.
    """
    checked = load_command_line(recipe, set, flags)
    from imagemill.flows.cli.dataset_output import print_plan

    return print_plan(checked, retry_set_aside, json)


@app.command
def verify(
    output: Output,
    /,
    *,
    regenerate: Annotated[
        int, Parameter(validator=validators.Number(gte=0), help="Generate this many rows again and compare them.")
    ] = 0,
    seed: Annotated[int, Parameter(validator=validators.Number(gte=0), help="Seed that selects these rows.")] = 0,
    row: Annotated[str, Parameter(help="Generate the row with this key (its row_key) again and compare it.")] = "",
    workers: Workers = None,
    cluster: Cluster = None,
    json: Json = False,
) -> int:
    """Verify a finished dataset against its manifest: files, columns, every image, the fingerprint.

    Nothing is written into the folder. Exits with 0 when everything matches, 1 when something differs.
    """
    check_cluster(cluster)
    from imagemill.flows.cli.dataset_output import print_verified

    return print_verified(output, regenerate, seed, row, workers, cluster, json)


@app.command
def history(output: Output, /, *, json: Json = False) -> int:
    """List the runs that built a dataset, oldest first.

    Exits with 0, or with 1 if the dataset cannot be read.
    """
    from imagemill.flows.cli.dataset_output import print_history

    return print_history(output, json)


@app.command
def diff(a: Output, b: Output, /, *, json: Json = False) -> int:
    """Compare the images of two finished datasets.

    It lists rows only in A, only in B, and rows with equal keys but different bytes.

    Exits with 0 when both have the same images, 1 when they differ.
    """
    from imagemill.flows.cli.dataset_output import print_difference

    return print_difference(a, b, json)


@app.command
def snapshot(
    output: Output,
    /,
    *,
    to: Annotated[Path, Parameter(help="Folder for the snapshot; it must not exist yet.")],
    json: Json = False,
) -> int:
    """Copy a finished dataset's present files into a folder that never changes, for training during builds.

    Files are hard links where the file system supports them, and copies otherwise. Exits with 0 when the snapshot is
    complete, 1 when the dataset or the folder cannot be used.
    """
    from imagemill.flows.cli.dataset_output import print_snapshot

    return print_snapshot(output, to, json)


catalog = App(name="models", help="List the models of the catalog, and download them ahead of a build.")
app.command(catalog)

ModelsFile = Annotated[str | None, Parameter(help="YAML file with your own models. By default IMAGEMILL_MODELS.")]
CacheDir = Annotated[str | None, Parameter(help="Folder of the hub's cache. By default the hub's own setting.")]


@catalog.default
def models(*, models_file: ModelsFile = None, cache_dir: CacheDir = None, json: Json = False) -> int:
    """List the models and scorers that a recipe can name: tasks, defaults, licence, and how much of each is cached.

    Exits with 0, or with 2 if the models file cannot be used.
    """
    from imagemill.flows.cli.models_output import print_models

    return print_models(models_file, cache_dir, json)


@catalog.command
def pull(
    name: Annotated[str, Parameter(help="A name from the catalog, or an 'org/name' repository.")],
    /,
    *,
    to: Annotated[Path | None, Parameter(help="Folder for the model; by default the hub's cache.")] = None,
    revision: Annotated[str | None, Parameter(help="Commit, tag or branch; by default the catalog's.")] = None,
    models_file: ModelsFile = None,
    cache_dir: CacheDir = None,
    json: Json = False,
) -> int:
    """Download a model or scorer ahead of a build: only the files it is loaded from. An interrupted download resumes.

    Exits with 0 when the model is complete, 1 when the download failed, 2 if it does not exist or access is denied.
    """
    from imagemill.flows.cli.models_output import print_pulled

    return print_pulled(name, to, revision, models_file, cache_dir, json)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    if arguments is None:
        end_at_once()
    try:
        with collected():
            code = app(arguments, result_action="return_value", print_error=False, exit_on_error=False)
        exit_with(code if isinstance(code, int) else 0)
    except KeyboardInterrupt:
        from imagemill.flows.cli.build_command import STOPPED

        print(STOPPED, file=sys.stderr)
        exit_with(130)
    except CycloptsError as error:
        print(f"imagemill: {bad_flag(error)}", file=sys.stderr)
        exit_with(2)
    except RecipeError as error:
        print(f"imagemill: {error}", file=sys.stderr)
        exit_with(2)
    except ImagemillError as error:
        print(f"imagemill: {error}", file=sys.stderr)
        exit_with(1)
    except OSError as error:
        # Of a file that a command needs: a traceback would hide its name and the reason.
        if not error.filename or not error.strerror:
            raise
        print(f"imagemill: {shown_path(error.filename)}: {error.strerror}.", file=sys.stderr)
        exit_with(1)
