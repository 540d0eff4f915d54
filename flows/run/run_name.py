"""Names and tags of flow runs, as lists of runs show them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from imagemill.data.config.load import load_recipe
from imagemill.data.config.recipe import Recipe
from imagemill.data.config.step_models import model_links
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.reader import read_runs
from imagemill.data.errors import ImagemillError
from imagemill.flows.prefect_server.dataset_name import dataset_name


def run_name() -> str:
    """``winter-animals, run 12``: counted by the dataset's folder, so that a new server continues the count."""
    return name_of(lambda: load_recipe(flow_run.parameters["recipe"], flow_run.parameters.get("overrides")))


def name_of(load: Callable[[], Recipe]) -> str:
    """The name of the current flow run, which builds what ``load`` returns."""
    try:
        recipe = load()
        return f"{recipe.name}, run {len(read_runs(Folder(recipe.output))) + 1}"
    except (ImagemillError, OSError):
        # The build itself raises the error.
        return f"{given_name() or 'no dataset'}, {datetime.now(UTC):%Y-%m-%d %H:%M}"


def given_name() -> str | None:
    """The dataset's name that the run's parameters give, where they are no valid recipe: a field, or a file's name."""
    recipe = flow_run.parameters.get("recipe")
    return recipe.name if isinstance(recipe, Recipe) else dataset_name(flow_run.parameters)


def models_of(recipe: Recipe) -> set[str]:
    """The models that the recipe names."""
    return {link.section.model for link in model_links(recipe)}


def tag_run(name: str | None, models: Collection[str] = ()) -> None:
    """Tag the current flow run with its dataset and its models.

    Its task runs have no tags: before a task with tags starts, Prefect asks the server for concurrency slots, every 5 s
    again, and each event of it names them.
    """
    tags = [*([f"dataset:{name}"] if name else ()), *(f"model:{model}" for model in models)]
    with get_client(sync_client=True) as client:
        client.update_flow_run(UUID(str(flow_run.id)), tags=sorted({*(flow_run.tags or ()), *tags}))
