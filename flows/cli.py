"""The `imagemill` command.

Only what every command needs is imported at the top: `imagemill --help` must not wait for Prefect or torch.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from cyclopts import App, Parameter
from pydantic import BaseModel, Field, create_model

from data.errors import ImagemillError, RecipeError
from data.recipe import Recipe
from data.recipe_input import load_recipe, parse_assignment

app = App(
    name="imagemill",
    help="Build image datasets with diffusion models: reproducible, resumable, drawn once.",
    version=lambda: version("imagemill"),
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(negative=()),
)


def _flags(section: type[BaseModel]) -> type[BaseModel]:
    """The section with every field optional and unchecked: what is given goes over the recipe, and that is checked."""
    fields: dict[str, Any] = {}
    for name, field in section.model_fields.items():
        plain = _plain(field.annotation)
        fields[name] = (plain | None, Field(None, description=field.description))
    return create_model(f"{section.__name__}Flags", **fields)


def _plain(kind: Any) -> Any:
    if get_origin(kind) in (Union, UnionType):
        kind = next(one for one in get_args(kind) if one is not type(None))
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) is list:
        return list[_plain(get_args(kind)[0])]
    return _flags(kind) if isinstance(kind, type) and issubclass(kind, BaseModel) else kind


RecipeFlags = _flags(Recipe)


@app.command
def build(
    recipe: Path | None = None,
    /,
    *,
    set: Annotated[list[str] | None, Parameter(consume_multiple=False)] = None,
    flags: Annotated[RecipeFlags | None, Parameter(name="*")] = None,
    workers: int | None = None,
    cluster: Annotated[str | None, Parameter(env_var="IMAGEMILL_CLUSTER")] = None,
    retry_set_aside: bool = False,
    verbose: Annotated[bool, Parameter(alias="-v")] = False,
) -> int:
    """Build a dataset, drawing only what is missing.

    Exits with 0 when the dataset is complete, 1 when it is not, 2 for a bad recipe.

    Parameters
    ----------
    recipe
        A YAML file. Flags and --set go over what it says; without one, flags are the recipe.
    set
        field=value, with the field's dotted name: --set generate.seed=7
    workers
        Worker processes. By default one per GPU, or one on the CPU.
    cluster
        Address of a Dask scheduler that is already up, such as tcp://127.0.0.1:8786; models stay loaded on its workers.
    retry_set_aside
        Try the rows again that a build before has set aside.
    verbose
        Show Prefect's log.
    """
    overrides = dict(parse_assignment(text) for text in set or ())
    overrides |= _dotted(flags.model_dump(exclude_unset=True) if flags else {})
    checked = load_recipe(recipe or {}, overrides)
    from flows.terminal import run_build

    return run_build(checked, workers, cluster, retry_set_aside, verbose)


def _dotted(fields: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, dict):
            flat |= _dotted(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    try:
        code = app(arguments, result_action="return_value")
    except KeyboardInterrupt:
        print("imagemill: stopped; run the same command again to go on from here.", file=sys.stderr)
        sys.exit(130)
    except RecipeError as error:
        print(f"imagemill: {error}", file=sys.stderr)
        sys.exit(2)
    except ImagemillError as error:
        print(f"imagemill: {error}", file=sys.stderr)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)
