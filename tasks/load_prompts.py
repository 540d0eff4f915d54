"""Load task: read the prompts into rows of the build's worklist, with the words that language models write."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import CancelledError
from dataclasses import replace

from prefect import task

from imagemill.data.config.recipe import Recipe
from imagemill.data.dataset.folder import Folder
from imagemill.data.errors import BuildFailed
from imagemill.data.planning.load_rows import load_rows
from imagemill.data.planning.loaded import Loaded
from imagemill.data.planning.worklist import Worklist
from imagemill.tasks.runner.askers import pin_sent
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
            notes = pin_sent(folder, sent)
        return replace(loaded, notes=notes)
