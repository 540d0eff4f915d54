"""Names of flow runs, as lists of runs show them."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect.runtime import flow_run

from imagemill.data.config.load import load_recipe
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.reader import read_runs
from imagemill.data.errors import ImagemillError


def run_name() -> str:
    """``winter-animals, run 12``: counted by the dataset's folder, so that a new server continues the count."""
    parameters = flow_run.parameters
    try:
        recipe = load_recipe(parameters["recipe"], parameters.get("overrides"))
        return f"{recipe.name}, run {len(read_runs(Folder(recipe.output))) + 1}"
    except (ImagemillError, OSError):
        # The build itself raises the error.
        return f"no dataset, {datetime.now(UTC):%Y-%m-%d %H:%M}"
