"""Incomplete answers of language models: the build makes everything else, and ends with exit code 1."""

from __future__ import annotations

from imagemill.data.config.recipe import Recipe
from imagemill.data.errors import BuildFailed
from imagemill.data.messages import MAX_REASON, message
from imagemill.data.planning.judging.group_shard import NOT_ASKED
from imagemill.data.planning.loaded import Loaded
from imagemill.data.records import SetAside
from imagemill.tasks.progress import Progress


def without_removals(recipe: Recipe, loaded: Loaded) -> Recipe:
    """The recipe to build by: while rows are not asked yet, none leaves the dataset, which may have them.

    Raises BuildFailed if no row has its words.
    """
    if not loaded.unasked.rows:
        return recipe
    if not loaded.rows:
        raise BuildFailed(f"no row has its words yet: {_counted(loaded)} Nothing was generated or removed.")
    return recipe.model_copy(update={"on_removed": "keep"})


def not_asked(loaded: Loaded) -> BuildFailed:
    """The error that a build ends with whose other rows are built."""
    return BuildFailed(f"{_counted(loaded)} The other rows are built, and none was removed.")


def candidates_not_asked(progress: Progress) -> list[SetAside]:
    """The candidates about which this build's language models were not asked."""
    return [fault for fault in progress.set_aside if fault.stage == NOT_ASKED]


def not_asked_about(candidates: list[SetAside]) -> BuildFailed:
    """The error that a build ends with whose other candidates are judged."""
    count = f"{len(candidates):,} {'images are' if len(candidates) > 1 else 'image is'}"
    reasons = message("; ".join(dict.fromkeys(fault.reason for fault in candidates)), MAX_REASON)
    return BuildFailed(
        f"{count} not judged yet ({reasons}), and in rejected/ until then. Raise that limit, and run this again: it "
        "continues from there."
    )


def _counted(loaded: Loaded) -> str:
    rows = loaded.unasked.rows
    reasons = message(", ".join(loaded.unasked.reasons), MAX_REASON)
    return (
        f"{rows:,} {'rows are' if rows > 1 else 'row is'} not asked yet: {reasons}. "
        "Raise that limit, and run this again: it continues from there."
    )
