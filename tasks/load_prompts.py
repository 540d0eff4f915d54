"""Load prompts: the prompts file becomes rows in the build's worklist."""

from __future__ import annotations

from prefect import task

from imagemill.data.config.recipe import Recipe
from imagemill.data.dataset.folder import Folder
from imagemill.data.planning.load_rows import load_rows
from imagemill.data.planning.worklist import Worklist
from imagemill.data.records import Loaded


@task(name="load prompts", task_run_name="load {recipe.rows_from}", persist_result=False)
def load_prompts(recipe: Recipe) -> Loaded:
    """Read the recipe's prompts, set aside the bad lines, and count both. Raises InputError where no line is good."""
    with Worklist.create(Folder(recipe.output).plan) as worklist:
        return load_rows(recipe, worklist)
