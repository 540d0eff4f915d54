"""Decisions that a dataset's folder pins, such as seeds and commits, and a check of those that it has.

The folder may be from someone else, and its decisions take the place of the recipe's: they can choose a commit of the
repository that the recipe names, or one of the catalog's folders, but no other repository, and no other file.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from imagemill.data.config.chain import chain_of, with_sections
from imagemill.data.config.recipe import Recipe
from imagemill.data.config.steps import Edit, Generate
from imagemill.data.dataset.folder import Folder
from imagemill.data.errors import OutputError
from imagemill.data.identity import MAX_SEED
from imagemill.data.messages import shown
from imagemill.data.prompts.hub import is_on_hub, is_pinned, pin_prompts
from imagemill.models.catalog.scorers.resolve import AnyScorer
from imagemill.models.catalog.source import Locator
from imagemill.models.catalog.spec import Model, Step, loaded_here

IN_CATALOG = " in the catalog"
"""Ending of the names under which a dataset records, beside a commit, that its model is one of the catalog's."""

THREADS = "cpu_threads"
"""Name under which a dataset records the torch threads of its CPU workers."""

MAX_THREADS = 4096
"""More than the cores of any machine."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_HASH = re.compile(r"[0-9a-f]{32}")


def locator(cache_dir: str | None, output: str) -> Locator:
    """Finds the models of the dataset in this folder, in the versions that it has pinned."""
    folder = Folder(output)
    pinned = folder.pinned()
    return Locator(
        cache_dir,
        pinned={name: value for name, value in pinned.items() if is_commit(value)},
        catalogued={
            name.removesuffix(IN_CATALOG): value
            for name, value in pinned.items()
            if name.endswith(IN_CATALOG) and is_flag(value)
        },
        pinned_files={name: value for name, value in pinned.items() if is_hash(value)},
        pins_folders=folder.conventions() > 1,
        hashes_templates=folder.conventions() > 1,
    )


def pin_recipe(recipe: Recipe, models: Mapping[Step, Model], pin: Callable[..., Any] | None = None) -> Recipe:
    """The recipe with a seed in place of each -1, and prompts on the Hub at a commit.

    ``pin`` records these and the models' versions; by default in the recipe's folder (Folder.pin), which must be
    locked.
    """
    pin = pin or Folder(recipe.output).pin
    known = pinned_commits(recipe.output)
    changes: dict[Step, Generate | Edit] = {}
    for model in models.values():
        for spec in loaded_here([model]):
            if spec.source.commit:
                name = spec.source.pin + IN_CATALOG
                is_new = spec.is_catalogued and spec.source.pin not in known
                check_pinned(name, pin(name, _always(is_new)), is_flag)
        for source in model.sources:
            if source.commit or source.entry:
                is_valid = is_commit if source.commit else source.version.__eq__
                check_pinned(source.pin, pin(source.pin, _always(source.version)), is_valid)
    for step, _, section in chain_of(recipe):
        update: dict[str, Any] = {}
        if section.seed == -1:
            name = f"{step}.seed"
            update["seed"] = check_pinned(name, pin(name, lambda: secrets.randbits(32)), is_seed)
        if isinstance(section, Edit) and section.references is None:
            update["references"] = _passes_references(recipe, step, section, pin)
        if update:
            changes[step] = section.model_copy(update=update)
    recipe = with_sections(recipe, changes)
    if recipe.prompt_truncated is None:
        # A dataset that is older than this column keeps its rows unchanged.
        name = "prompt_truncated"
        is_new = check_pinned(name, pin(name, lambda: not Folder(recipe.output).committed()[0]), is_flag)
        recipe = recipe.model_copy(update={"prompt_truncated": is_new})
    if is_on_hub(recipe.prompts):
        prompts = recipe.prompts
        pinned = check_pinned(
            prompts, pin(prompts, lambda: pin_prompts(prompts)), lambda value: is_pinned(prompts, value)
        )
        recipe = recipe.model_copy(update={"prompts": pinned})
    return recipe


def _passes_references(recipe: Recipe, step: Step, section: Edit, pin: Callable[..., Any]) -> bool:
    """True if an edit of the rows' images passes the further ones too: an API takes any number of them."""
    if section.backend != "openai" or chain_of(recipe)[0].name != step:
        return False
    # It has a column of images more than a dataset that is older than this.
    name = f"{step}.references"
    return bool(check_pinned(name, pin(name, lambda: Folder(recipe.output).conventions() >= 2), is_flag))


def _always(value: Any) -> Callable[[], Any]:
    return lambda: value


def pin_scorers(scorers: Iterable[AnyScorer], pin: Callable[..., Any]) -> None:
    """Record the commits of the scorers' models and heads (Folder.pin), so that a later build scores by the same.

    Raises OutputError where the dataset's folder has pinned what no build could have.
    """
    for scorer in scorers:
        for source in scorer.sources:
            if source.commit:
                check_pinned(source.pin, pin(source.pin, partial(str, source.commit)), is_commit)


def pin_threads(folder: Folder, threads: int) -> int:
    """The torch threads with which a worker without a GPU generates this dataset: those it was begun with, or these.

    An image's last bits depend on them. Raises OutputError.
    """
    return int(check_pinned(THREADS, folder.pin(THREADS, _always(threads)), is_thread_count))


def pinned_threads(folder: Folder) -> int | None:
    """The threads that pin_threads has recorded; None if it has not. Raises OutputError."""
    value = folder.pinned().get(THREADS)
    return None if value is None else int(check_pinned(THREADS, value, is_thread_count))


def pinned_commits(output: str) -> dict[str, str]:
    """Name of a pinned revision (models.catalog.source.ModelSource.pin) -> commit."""
    return {name: value for name, value in Folder(output).pinned().items() if is_commit(value)}


def check_pinned(name: str, value: Any, is_valid: Callable[[Any], bool]) -> Any:
    """The value that is pinned under ``name``. Raises OutputError if it is none that a build could have pinned."""
    if not is_valid(value):
        raise OutputError(
            f"the dataset's .imagemill/folder.json pins {shown(name)} to {shown(value)}, which no build could have "
            "chosen: take that line out of 'pinned', and it is chosen again. Nothing was generated."
        )
    return value


def is_commit(value: Any) -> bool:
    """True if this is a commit of a repository."""
    return isinstance(value, str) and _COMMIT.fullmatch(value) is not None


def is_hash(value: Any) -> bool:
    """True if this is a hash of a model's files (models.catalog.model_files.hash_model)."""
    return isinstance(value, str) and _HASH.fullmatch(value) is not None


def is_seed(value: Any) -> bool:
    """True if a build could have pinned this as a seed."""
    return type(value) is int and 0 <= value <= MAX_SEED


def is_thread_count(value: Any) -> bool:
    """True if a build could have pinned this as a number of threads."""
    return type(value) is int and 0 < value <= MAX_THREADS


def is_flag(value: Any) -> bool:
    """True if this is true or false."""
    return isinstance(value, bool)
