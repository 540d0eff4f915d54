"""Load task: read the prompts into rows of the build's worklist, with the words that language models write."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import CancelledError
from dataclasses import replace
from typing import Any

from prefect import task

from imagemill.data.config.recipe import Recipe
from imagemill.data.dataset.describe.language_models import IMAGES_SENT
from imagemill.data.dataset.folder import Folder
from imagemill.data.errors import BuildFailed
from imagemill.data.planning.load_rows import load_rows
from imagemill.data.planning.loaded import Loaded
from imagemill.data.planning.worklist import Worklist
from imagemill.models.api.data_urls import MAX_SIDE
from imagemill.tasks.runner.llm_asks import llm_asks


@task(name="load prompts", task_run_name="load {recipe.rows_from}", persist_result=False)
def load_prompts(recipe: Recipe, retry_set_aside: bool = False) -> Loaded:
    """Read the recipe's prompts, set bad lines aside, and count both. Raises InputError if no line is good.

    ``retry_set_aside``: whether language models are asked again what they have refused.
    """
    folder = Folder(recipe.output)
    with Worklist.create(folder.plan) as worklist:
        if not recipe.llm:
            return load_rows(recipe, worklist, folder.given)
        sent: Counter[str] = Counter()
        try:
            with llm_asks(recipe, retry_set_aside, sent) as asks:
                loaded = load_rows(recipe, worklist, folder.given, asks)
        except CancelledError as error:
            raise BuildFailed("the build was stopped while it waited for language models.") from error
        finally:
            notes = _pin_sent(folder, sent)
        return replace(loaded, notes=notes)


def _pin_sent(folder: Folder, sent: Counter[str]) -> tuple[str, ...]:
    """Record the origins that got images of the dataset for the first time; a sentence about each."""
    known: dict[str, Any] = folder.pinned().get(IMAGES_SENT) or {}
    new = {origin: count for origin, count in sent.items() if origin not in known}
    if new:
        folder.repin(IMAGES_SENT, {**known, **new})
    return tuple(
        f"{count:,} images, at most {MAX_SIDE} pixels a side, were sent to {origin}, where a language model saw them."
        for origin, count in new.items()
    )
