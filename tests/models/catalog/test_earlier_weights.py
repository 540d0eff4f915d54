"""A dataset goes on with the weights that it was begun with, though the catalog has newer ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagemill.data.config.recipe import Recipe
from imagemill.data.config.steps import Generate
from imagemill.data.dataset.folder import Folder
from imagemill.data.errors import OutputError, RecipeError
from imagemill.models.catalog.entries import read_catalog
from imagemill.models.catalog.model_files import hash_model
from imagemill.models.catalog.resolve import Resolver, resolve
from imagemill.models.catalog.source import Locator
from imagemill.tasks.build_context import resolve_models
from imagemill.tasks.pinned import pin_recipe
from tests.conftest import ROOT

FIRST, NEWEST = ROOT / "models/bundled/model", ROOT / "models/bundled/model-2"
BUNDLED = Generate(model="bundled")


def folder_of(locator: Locator) -> str:
    return Resolver(read_catalog(), locator).resolve("generate", BUNDLED).source.location


def test_the_first_weights_are_as_they_were_when_datasets_were_begun_with_them():
    assert hash_model(FIRST) == "6e27c9530dae2cff418132b746e6adb9"


def test_the_newest_weights_count_outside_of_a_dataset_and_in_a_new_one():
    assert resolve("generate", BUNDLED).source.location == folder_of(Locator()) == str(NEWEST)


def test_a_dataset_of_a_version_that_pinned_no_weights_goes_on_with_the_first():
    assert folder_of(Locator(pins_folders=False)) == str(FIRST)


@pytest.mark.parametrize("folder", [FIRST, NEWEST])
def test_pinned_weights_count(folder: Path):
    pinned = {"bundled@default": hash_model(folder)}
    assert folder_of(Locator(pinned_files=pinned, pins_folders=False)) == str(folder)


def test_a_build_pins_the_weights_that_it_began_with(tmp_path: Path):
    recipe = Recipe(name="new", prompts="prompts.txt", output=str(tmp_path / "new"), generate=BUNDLED)
    folder = Folder(recipe.output)
    models = resolve_models(recipe)
    with folder.lock("new"):
        pin_recipe(recipe, models, folder.pin)
    assert folder.pinned()["bundled@default"] == hash_model(NEWEST)
    assert resolve_models(recipe)["generate"].source.location == str(NEWEST)


def test_weights_that_no_build_could_have_pinned_are_refused(tmp_path: Path):
    recipe = Recipe(name="new", prompts="prompts.txt", output=str(tmp_path / "new"), generate=BUNDLED)
    folder = Folder(recipe.output)
    with folder.lock("new"):
        folder.pin("bundled@default", lambda: "0" * 32)
        with pytest.raises(OutputError, match=r"pins 'bundled@default' to '0{32}', which no build could have chosen"):
            pin_recipe(recipe, resolve_models(recipe), folder.pin)


def test_a_users_entry_may_have_earlier_weights_of_a_folder_only(tmp_path: Path):
    own = tmp_path / "models.yaml"
    own.write_text("models: {mine: {family: FluxPipeline, repository: me/mine, earlier: [old]}}\n")
    with pytest.raises(RecipeError, match="'earlier' are folders: give 'folder' too"):
        read_catalog(str(own))
