"""Dry run of the load: the rows whose words the dataset has, and what language models would be asked. Asks nothing."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from imagemill.data.answers.budget import Budget
from imagemill.data.answers.store import AnswerStore
from imagemill.data.config.recipe import Recipe
from imagemill.data.dataset.folder import Folder
from imagemill.data.planning.load_rows import load_rows
from imagemill.data.planning.loaded import Loaded
from imagemill.data.planning.words.asks import OnlyKnown
from imagemill.data.planning.words.unasked import asker_of
from imagemill.data.planning.worklist import Worklist


def load_known(
    recipe: Recipe, worklist: Worklist, scratch: Path, retry_set_aside: bool = False
) -> tuple[Loaded, dict[str, Any]]:
    """The rows of a recipe, and by asker the most questions that its language models would be asked, and their cost.

    ``scratch``: folder for images and indexes. ``retry_set_aside``: whether refusals would be asked again.
    """
    if not recipe.llm:
        return load_rows(recipe, worklist, scratch / "given"), {}
    folder, index = Folder(recipe.output), scratch / "answers.sqlite"
    with AnswerStore.opened(folder, index) as store, closing(OnlyKnown(store, retry_set_aside)) as asks:
        loaded = load_rows(recipe, worklist, scratch / "given", asks)
        questions, costs = {}, {}
        for number, step in enumerate(recipe.llm):
            asker = asker_of(number)
            budget, count = Budget.of(asker, step), loaded.unasked.questions[asker]
            left = budget.left(store.spent(asker))
            if count := count if left is None else min(count, left):
                questions[asker] = count
                if step.cost_per_request:
                    costs[asker] = round(count * step.cost_per_request, 6)
    return loaded, {"asking": {"rows": loaded.unasked.rows, "questions": questions, "costs": costs}}
