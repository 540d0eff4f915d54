"""A model whose part needs a package that is not installed is refused when it is resolved, with the package's name."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import pytest

from imagemill.data.config.steps import Generate
from imagemill.data.errors import RecipeError
from imagemill.models.catalog.resolve import resolve
from tests.models.catalog.folders import COMMIT, write_model

WITHOUT = "its tokenizer needs sentencepiece, which is not installed: pip install sentencepiece."


@pytest.fixture
def without_sentencepiece(monkeypatch: pytest.MonkeyPatch) -> None:
    distribution = metadata.distribution

    def installed(name: str) -> metadata.Distribution:
        if name == "sentencepiece":
            raise metadata.PackageNotFoundError(name)
        return distribution(name)

    monkeypatch.setattr(metadata, "distribution", installed)


def write_kolors(folder: Path, **parts: list[str]) -> Path:
    write_model(folder, "KolorsPipeline")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, **parts}))
    return folder


@pytest.mark.usefixtures("without_sentencepiece")
def test_kolors_names_the_package_that_its_tokenizer_needs(tmp_path: Path):
    with pytest.raises(RecipeError) as caught:
        resolve("generate", Generate(model="kolors", revision=COMMIT))
    assert str(caught.value) == f"recipe.generate.model is 'kolors': {WITHOUT}"
    folder = write_kolors(tmp_path / "mine", tokenizer=["kolors", "ChatGLMTokenizer"])
    with pytest.raises(RecipeError) as caught:
        resolve("generate", Generate(model=str(folder)))
    assert str(caught.value).endswith(f"mine': {WITHOUT}")


@pytest.mark.usefixtures("without_sentencepiece")
def test_a_folder_without_the_part_needs_no_package(tmp_path: Path):
    assert resolve("generate", Generate(model=str(write_kolors(tmp_path / "mine")))).pipeline == "KolorsPipeline"


def test_with_the_package_it_resolves():
    assert (
        resolve("generate", Generate(model="kolors", revision=COMMIT)).source.location == "Kwai-Kolors/Kolors-diffusers"
    )
