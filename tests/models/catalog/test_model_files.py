"""A local model is known by a hash of the files that decide its pixels."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from imagemill.data.config.steps import Generate
from imagemill.data.errors import RecipeError
from imagemill.models.catalog.model_files import hash_model
from imagemill.models.catalog.resolve import resolve
from imagemill.models.catalog.source import Locator
from tests.models.catalog.folders import write_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_model(tmp_path / "mine")


def test_a_local_folder_is_known_by_its_files(folder: Path):
    spec = resolve("generate", Generate(model=str(folder)))
    assert (spec.name, spec.source.location, spec.source.commit) == ("mine", str(folder), None)
    assert spec.source.files == hash_model(folder) == spec.facts().revision


def test_a_folders_hash_changes_with_one_byte_of_its_weights(folder: Path):
    before = hash_model(folder)
    weights = folder / "transformer" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert hash_model(folder) != before


@pytest.mark.parametrize("name", ["model_index.json", "transformer/config.json", "tokenizer/vocab.txt"])
def test_a_folders_hash_changes_with_its_configs_and_vocabularies(folder: Path, name: str):
    before = hash_model(folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("{}")
    assert hash_model(folder) != before


def test_a_folders_hash_does_not_depend_on_its_path_or_its_readme(folder: Path, tmp_path: Path):
    elsewhere = tmp_path / "a" / "b"
    shutil.copytree(folder, elsewhere)
    (elsewhere / "README.md").write_text("moved")
    (elsewhere / ".cache.json").write_text("x")
    assert hash_model(elsewhere) == hash_model(folder)
    first, second = (resolve("generate", Generate(model=str(model))) for model in (folder, elsewhere))
    assert (first.identity, first.weights_key) == (second.identity, second.weights_key)


@pytest.mark.parametrize("content", ["not json", "[]", "{}"])
def test_a_damaged_index_is_an_error_that_names_the_field(tmp_path: Path, content: str):
    (tmp_path / "model_index.json").write_text(content)
    with pytest.raises(RecipeError, match=r"^recipe\.generate\.model is "):
        resolve("generate", Generate(model=str(tmp_path)))


@pytest.mark.parametrize("content", [b"", b"\xff" * 40])
def test_damaged_weights_are_an_error_that_names_the_field(folder: Path, content: bytes):
    (folder / "transformer" / "weights.safetensors").write_bytes(content)
    with pytest.raises(RecipeError, match=r"^recipe\.generate\.model is "):
        resolve("generate", Generate(model=str(folder)))


def test_a_chat_template_counts_but_in_datasets_of_a_version_that_left_it_out(folder: Path):
    template = folder / "tokenizer" / "chat_template.jinja"
    template.parent.mkdir(exist_ok=True)
    template.write_text("{{ messages }}")
    before, older = Locator().hash_folder(folder), Locator(hashes_templates=False).hash_folder(folder)
    template.write_text("{{ messages[0] }}")
    assert Locator().hash_folder(folder) != before
    assert Locator(hashes_templates=False).hash_folder(folder) == older
