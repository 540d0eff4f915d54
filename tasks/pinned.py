"""Check of the decisions that a dataset's folder has pinned: each has the one form that its name can have.

The folder may be from someone else, and its decisions take the place of the recipe's: they can choose a commit of the
repository that the recipe names, or one of the catalog's folders, but no other repository, and no other file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from imagemill.data.dataset.folder import Folder
from imagemill.data.errors import OutputError
from imagemill.data.identity import MAX_SEED
from imagemill.data.messages import shown
from imagemill.models.catalog.scorers.resolve import AnyScorer
from imagemill.models.catalog.source import Locator

IN_CATALOG = " in the catalog"
"""Ending of the names under which a dataset records, beside a commit, that its model is one of the catalog's."""

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


def pin_scorers(scorers: Iterable[AnyScorer], pin: Callable[..., Any]) -> None:
    """Record the commits of the scorers' models and heads (Folder.pin), so that a later build scores by the same.

    Raises OutputError where the dataset's folder has pinned what no build could have.
    """
    for scorer in scorers:
        for source in scorer.sources:
            if source.commit:
                check_pinned(source.pin, pin(source.pin, partial(str, source.commit)), is_commit)


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


def is_flag(value: Any) -> bool:
    """True if this is true or false."""
    return isinstance(value, bool)
