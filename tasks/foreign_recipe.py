"""Check of the recipe in a dataset's manifest before its models are used: the dataset may be from someone else.

Such a recipe may name models, which are loaded as data. It sends nothing to an API that the user has not named, and
opens no file but the models'.
"""

from __future__ import annotations

from pathlib import Path

from imagemill.data.config.chain import chain_of
from imagemill.data.config.recipe import Recipe
from imagemill.data.errors import RecipeError
from imagemill.data.messages import shown_path
from imagemill.models.catalog.api_key import HOSTS, is_listed, origin_in_messages

MAX_MODELS_FILE_BYTES = 2**20


def check_foreign_recipe(recipe: Recipe) -> None:
    """Raise RecipeError for an API's host, a models file or a cache that only this recipe names."""
    for _, field, section in chain_of(recipe):
        if section.backend == "openai" and not is_listed(section.api):
            origin = origin_in_messages(section.api)
            raise RecipeError(
                f"recipe.{field}.api.base_url is at {origin}, which only the manifest names: set {HOSTS}={origin} if "
                "its API may get the dataset's prompts and images."
            )
    if recipe.models_file:
        _check_models_file(Path(recipe.models_file).expanduser())
    cache = recipe.cache_dir and Path(recipe.cache_dir).expanduser()
    if cache and not any(cache.glob("models--*")):
        raise RecipeError(
            f"recipe.cache_dir is {shown_path(cache)}, which is no cache of models on this machine: set HF_HOME "
            "to one, and take cache_dir out of the recipe in manifest.json."
        )


def _check_models_file(path: Path) -> None:
    if not path.is_file() or path.stat().st_size > MAX_MODELS_FILE_BYTES or path.suffix not in (".yaml", ".yml"):
        raise RecipeError(
            f"recipe.models_file is {shown_path(path)}, which is no models file (.yaml) on this machine: put it there."
        )
