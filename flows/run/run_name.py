"""What a run is called, for a person who looks for it in a list."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect.runtime import flow_run

from imagemill.data.config.load import load_recipe
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.reader import read_runs
from imagemill.data.errors import ImagemillError


def run_name() -> str:
    """``winter-animals, run 12``: counted in the dataset's folder, so that it goes on when the server is a new one."""
    given = flow_run.parameters
    try:
        recipe = load_recipe(given["recipe"], given.get("overrides"))
        return f"{recipe.name}, run {len(read_runs(Folder(recipe.output))) + 1}"
    except (ImagemillError, OSError):
        # The build itself says what is wrong.
        return f"no dataset, {datetime.now(UTC):%Y-%m-%d %H:%M}"
