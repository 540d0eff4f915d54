"""The catalog: every entry can do what it lists, and a user's models file adds entries or is one clear error."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagemill.data.config.steps import Edit, Generate
from imagemill.data.errors import RecipeError
from imagemill.models.catalog.entries import read_catalog
from imagemill.models.catalog.families import packages
from imagemill.models.catalog.resolve import Resolver, resolve
from imagemill.models.catalog.source import Locator
from imagemill.models.catalog.spec import ModelSpec
from tests.models.catalog.folders import COMMIT, write_model

MODELS = """
models:
  mine: {family: FluxPipeline, folder: mine, steps: 3, guidance_scale: null, licence: my own}
  painter: {family: StableDiffusionXLPipeline, repository: studio/painter, tasks: [inpaint], width: 640}
"""

REPOSITORIES = [name for name, entry in read_catalog().models.items() if entry.repository]


def sections(name: str) -> Iterator[tuple[str, Generate | Edit]]:
    """Recipe sections that ask a model of the catalog for each of its tasks."""
    catalog = read_catalog()
    entry = catalog.models[name]
    for task in entry.calls(catalog.families[entry.family]):
        settings = {"model": name, "revision": COMMIT}
        yield ("generate", Generate(**settings)) if task == "text-to-image" else ("edit", Edit(task=task, **settings))


@pytest.fixture
def all_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests do without torchvision."""
    monkeypatch.setattr(packages, "is_installed", lambda name: True)


def specs(name: str) -> list[ModelSpec]:
    """The model of the catalog, resolved for each of its tasks, with its parts' repositories pinned."""
    resolver = Resolver(read_catalog(), Locator(pinned=pins(name)))
    return [resolver.resolve(step, section) for step, section in sections(name)]


def pins(name: str) -> dict[str, str]:
    return {f"{repository}@default": COMMIT for repository in read_catalog().models[name].parts.values()}


@pytest.mark.usefixtures("all_packages")
@pytest.mark.parametrize("name", REPOSITORIES)
def test_every_model_of_the_catalog_resolves_for_each_of_its_tasks(name: str):
    for spec in specs(name):
        assert (spec.source.commit, spec.source.files, spec.name) == (COMMIT, None, name)
        assert set(pins(name)) <= {source.pin for source in spec.sources}
        assert isinstance(spec.defaults.guidance_scale, float) or not spec.limits.uses_guidance
        assert spec.defaults.width % spec.limits.size_multiple == 0
        assert spec.licence != "unknown"


@pytest.mark.slow
@pytest.mark.usefixtures("all_packages")
@pytest.mark.parametrize("name", REPOSITORIES)
def test_the_pipeline_of_every_model_takes_the_arguments_that_its_calls_have(name: str):
    import diffusers

    for spec in specs(name):
        takes = inspect.signature(getattr(diffusers, spec.pipeline).__call__).parameters
        assert {spec.call.guidance_argument, "generator", *spec.call.arguments} <= set(takes)
        assert ("negative_prompt" in takes) or not spec.limits.negative_prompt
        assert ("strength" in takes) == ("strength" in spec.call.arguments)


@pytest.mark.parametrize("named_in", ["recipe", "environment"])
def test_a_users_models_are_known_by_their_names(tmp_path: Path, named_in: str, monkeypatch: pytest.MonkeyPatch):
    folder, file = write_model(tmp_path / "mine"), tmp_path / "models.yaml"
    file.write_text(MODELS)
    if named_in == "environment":
        monkeypatch.setenv("IMAGEMILL_MODELS", str(file))
    models_file = str(file) if named_in == "recipe" else None
    spec = resolve("generate", Generate(model="mine"), models_file=models_file)
    assert (spec.name, spec.source.location, spec.defaults.steps) == ("mine", str(folder), 3)
    assert (spec.defaults.guidance_scale, spec.dtype, spec.licence) == (None, "bfloat16", "my own")
    spec = resolve("edit", Edit(model="painter", task="inpaint", revision=COMMIT), models_file=models_file)
    assert (spec.source.location, spec.pipeline) == ("studio/painter", "StableDiffusionXLInpaintPipeline")
    assert spec.defaults.width == 640


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            "models: {mine: {family: FluxPipeline, folder: x, widht: 3}}",
            ["models.mine.widht", "allowed are", "width"],
        ),
        ("models: {mine: {family: Video, folder: x}}", ["models.mine.family", "'Video'", "FluxPipeline"]),
        (
            "models: {mine: {family: FluxPipeline}}",
            ["models.mine", "one of 'repository' (org/name), 'folder' and 'file'"],
        ),
        ("models: {mine: {family: SanaPipeline, folder: x, tasks: [inpaint]}}", ["'inpaint'", "can: text-to-image"]),
        ("model: {}", ["model in", "allowed are families, models"]),
        ("models: [", ["not YAML"]),
        (None, ["cannot be read", "No such file"]),
    ],
)
def test_a_bad_models_file_is_one_error_that_names_the_place(tmp_path: Path, content: str | None, words: list[str]):
    file = tmp_path / "models.yaml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(RecipeError) as caught:
        resolve("generate", Generate(), models_file=str(file))
    message = str(caught.value)
    assert message.startswith("recipe.models_file")
    assert [word for word in [*words, str(file)] if word not in message] == []
