"""A model goes by its key, by the names that other tools use for it, and by its repository, in any capitals."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagemill.data.config.recipe import Recipe
from imagemill.data.config.steps import Generate
from imagemill.data.dataset.folder import Folder
from imagemill.models.catalog.entries import read_catalog
from imagemill.models.catalog.not_a_model import nearest_names
from imagemill.models.catalog.resolve import resolve
from imagemill.models.catalog.spec import ModelSpec
from imagemill.tasks.build_context import resolve_models
from imagemill.tasks.pinned import pin_recipe
from tests.models.catalog.folders import COMMIT, write_model

TURBO = "stabilityai/sdxl-turbo"


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every repository is at one commit, and has an SDXL pipeline."""
    folder = write_model(tmp_path / "hub", "StableDiffusionXLPipeline")
    monkeypatch.setattr("imagemill.models.hub.resolve_commit", lambda *_: COMMIT)
    monkeypatch.setattr("imagemill.models.hub.fetch_file", lambda field, repository, commit, name, cache: folder / name)
    return folder


def spec_of(name: str) -> ModelSpec:
    return resolve("generate", Generate(model=name))


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("stable-diffusion-v1-5", "sd-1.5"),
        ("stable-diffusion-2-1", "sd-2.1"),
        ("stable-diffusion-xl-base", "sdxl"),
        ("stable-diffusion-xl-base-1.0", "sdxl"),
        ("Stable-Diffusion-XL-Base-1.0", "sdxl"),
        ("SDXL-turbo", "sdxl-turbo"),
        ("FLUX.1-dev", "flux.1-dev"),
        ("FLUX.1-schnell", "flux.1-schnell"),
        ("FLUX.1-Krea-dev", "flux.1-krea-dev"),
        ("Qwen-Image", "qwen-image"),
        ("black-forest-labs/FLUX.1-schnell", "flux.1-schnell"),
        ("Black-Forest-Labs/flux.1-SCHNELL", "flux.1-schnell"),
        (TURBO, "sdxl-turbo"),
    ],
)
def test_a_name_is_the_catalogs_model(name: str, key: str):
    assert spec_of(name) == spec_of(key)
    assert spec_of(name).name == key


def test_no_two_models_share_a_name_or_a_repository():
    catalog = read_catalog()
    names = [name.lower() for key in catalog.models for name in catalog.names_of(key)]
    repositories = [entry.repository.lower() for entry in catalog.models.values() if entry.repository]
    assert len(names) == len(set(names))
    assert len(repositories) == len(set(repositories))


def test_a_users_model_may_have_aliases_and_its_key_counts_before_an_alias(tmp_path: Path):
    path = tmp_path / "models.yaml"
    path.write_text(
        "models:\n"
        "  house-style: {family: StableDiffusionXLPipeline, repository: studio/house, aliases: [House]}\n"
        "  stable-diffusion-xl: {family: StableDiffusionXLPipeline, repository: studio/other}\n"
    )
    catalog = read_catalog(str(path))
    assert (catalog.key_of("HOUSE"), catalog.key_of("stable-diffusion-xl")) == ("house-style", "stable-diffusion-xl")


def test_a_folder_of_an_aliass_name_is_that_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "stable-diffusion-xl")
    assert spec_of("stable-diffusion-xl").pipeline == "FluxPipeline"
    write_model(tmp_path / "sdxl")
    assert spec_of("sdxl").pipeline == "StableDiffusionXLPipeline"


def test_the_nearest_names_include_those_whose_alias_is_near():
    catalog = read_catalog()
    assert nearest_names("stable-difusion-v1.5", catalog)[0] == "sd-1.5"
    assert nearest_names("FLUX1-Kontext", catalog)[0] == "flux.1-kontext-dev"
    assert len(nearest_names("x" * 10**6, catalog)) == 3


def recipe_of(folder: Path, model: str) -> Recipe:
    (folder / "p.txt").write_text("a fox\n")
    values = {"name": "d", "prompts": str(folder / "p.txt"), "output": str(folder / "d"), "generate": {"model": model}}
    return Recipe.model_validate(values)


def begin(folder: Path, model: str) -> ModelSpec:
    """Resolve and pin the model, as a build does first."""
    recipe = recipe_of(folder, model)
    models = resolve_models(recipe)
    with Folder(recipe.output).lock(recipe.name):
        pin_recipe(recipe, models)
    return models["generate"]


def test_a_dataset_of_an_earlier_version_keeps_what_a_repositorys_name_meant(tmp_path: Path):
    """That version took the family's settings: 50 steps, where the catalog has one."""
    with Folder(tmp_path / "d").lock("d"):
        Folder(tmp_path / "d").pin(f"{TURBO}@default", lambda: COMMIT)
    for _ in range(3):
        spec = begin(tmp_path, TURBO)
        assert (spec.name, spec.defaults.steps, spec.source.commit) == (TURBO, 50, COMMIT)
    assert begin(tmp_path, "sdxl-turbo").defaults.steps == 1


def test_a_new_dataset_has_the_catalogs_model_at_every_build(tmp_path: Path):
    for name in (TURBO, "StabilityAI/SDXL-Turbo", "sdxl-turbo", TURBO):
        assert begin(tmp_path, name).defaults.steps == 1


def test_a_repository_that_joins_the_catalog_later_changes_no_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert begin(tmp_path, "studio/house").defaults.steps == 50
    path = tmp_path / "models.yaml"
    path.write_text("models: {house: {family: StableDiffusionXLPipeline, repository: studio/house, steps: 7}}")
    monkeypatch.setenv("IMAGEMILL_MODELS", str(path))
    assert begin(tmp_path, "studio/house").defaults.steps == 50
    assert spec_of("studio/house").defaults.steps == 7
