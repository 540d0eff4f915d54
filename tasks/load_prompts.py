"""Load task: read the prompts into rows of the build's worklist."""

from __future__ import annotations

from prefect import task

from imagemill.data.config.recipe import Recipe
from imagemill.data.dataset.folder import Folder
from imagemill.data.planning.load_rows import load_rows
from imagemill.data.planning.loaded import Loaded
from imagemill.data.planning.worklist import Worklist


@task(name="load prompts", task_run_name="load {recipe.rows_from}", persist_result=False)
def load_prompts(recipe: Recipe) -> Loaded:
    """Read the recipe's prompts, set bad lines aside, and count both. Raises InputError if no line is good."""
    folder = Folder(recipe.output)
    with Worklist.create(folder.plan) as worklist:
        return load_rows(recipe, worklist, folder.given)
