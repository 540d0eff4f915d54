"""A model's name becomes exactly one model, or a message that says what is wrong with which field."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from data.errors import RecipeError, UnknownModel
from data.recipe import Edit, Generate
from models.catalog import check_settings, hash_model, known_models, licences, resolve

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def write_model(folder: Path, kind: str = "FluxPipeline", dtype=np.float16) -> Path:
    """A folder that looks, as far as resolving goes, like a saved pipeline."""
    (folder / "transformer").mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": kind, "_diffusers_version": "0.42.1"}))
    (folder / "README.md").write_text("a model")
    save_file({"w": np.arange(8).astype(dtype)}, folder / "transformer" / "weights.safetensors")
    return folder


@pytest.fixture
def folder(tmp_path):
    return write_model(tmp_path / "mine")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub cache that holds one model; the hub itself is out of reach."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    cache = tmp_path / "hub"
    repository = cache / "models--studio--painter"
    write_model(repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    for name in ("main", "v1"):
        (repository / "refs" / name).write_text(COMMIT)
    return str(cache)


def refused(error, *arguments):
    with pytest.raises(error) as caught:
        resolve(*arguments)
    return str(caught.value)


def test_an_unknown_name_lists_what_is_known():
    assert refused(UnknownModel, "generate", Generate(model="fluxx"), None) == (
        f"recipe.generate.model is 'fluxx', which is neither in the catalog ({', '.join(known_models())}), "
        "a local folder with model_index.json, nor an 'org/name' repository."
    )


def test_a_folder_without_an_index_is_unknown(tmp_path):
    assert refused(UnknownModel, "edit", Edit(model=str(tmp_path)), None).startswith("recipe.edit.model is '/")


@pytest.mark.parametrize("name", known_models())
def test_every_model_of_the_catalog_resolves_for_what_it_can_do(name):
    if name == "bundled":
        pytest.skip("its files are another test's")
    spec = resolve("generate", Generate(model=name), None, lambda repository, revision: COMMIT)
    assert (spec.revision, spec.files, spec.name) == (COMMIT, None, name)
    assert isinstance(spec.guidance_scale, float)
    assert spec.width % spec.size_multiple == 0
    assert licences({"generate": spec}) == [spec.licence] != ["unknown"]


def test_a_model_that_cannot_edit_says_which_can():
    message = refused(RecipeError, "edit", Edit(model="sdxl"), None, lambda repository, revision: COMMIT)
    assert message.startswith("recipe.edit.model is 'sdxl', which cannot edit: of the catalog these can: bundled, flux")
    assert "sd-1.5" not in message


def test_a_local_folder_is_known_by_its_files(folder):
    spec = resolve("generate", Generate(model=str(folder)), None)
    assert (spec.name, spec.revision, spec.source) == ("mine", None, str(folder))
    assert spec.files == hash_model(folder) == spec.facts().revision
    assert (spec.pipeline, spec.dtype) == ("FluxPipeline", "float16")
    assert resolve("edit", Edit(model=str(folder)), None).pipeline == "FluxKontextPipeline"


def test_a_folders_hash_changes_with_one_byte_of_its_weights(folder):
    before = hash_model(folder)
    weights = folder / "transformer" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert hash_model(folder) != before


@pytest.mark.parametrize("name", ["model_index.json", "transformer/config.json", "tokenizer/vocab.txt"])
def test_a_folders_hash_changes_with_what_decides_pixels(folder, name):
    before = hash_model(folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("{}")
    assert hash_model(folder) != before


def test_a_folders_hash_is_blind_to_its_place_and_its_readme(folder, tmp_path):
    elsewhere = tmp_path / "a" / "b"
    shutil.copytree(folder, elsewhere)
    (elsewhere / "README.md").write_text("moved")
    (elsewhere / ".cache.json").write_text("x")
    assert hash_model(elsewhere) == hash_model(folder)
    first, second = (resolve("generate", Generate(model=str(one)), None) for one in (folder, elsewhere))
    assert (first.identity, first.weights_key) == (second.identity, second.weights_key)


def test_a_dtype_is_part_of_the_identity(folder):
    first, second = (resolve("generate", Generate(model=str(folder), dtype=one), None) for one in ("auto", "float32"))
    assert first.identity != second.identity
    assert first.weights_key != second.weights_key


def test_a_revision_of_a_folder_is_refused(folder):
    assert refused(RecipeError, "generate", Generate(model=str(folder), revision="main"), None) == (
        f"recipe.generate.revision is 'main', but the model {str(folder)!r} is a local folder, "
        "which has no revisions: leave it out."
    )


def test_a_pipeline_that_cannot_be_called_yet_says_so(tmp_path):
    folder = write_model(tmp_path / "video", "VideoPipeline")
    message = refused(RecipeError, "generate", Generate(model=str(folder)), None)
    assert "a VideoPipeline, which imagemill cannot call yet. It can call: FluxPipeline," in message


@pytest.mark.parametrize("content", ["not json", "[]", "{}"])
def test_a_damaged_index_is_an_error_that_names_the_field(tmp_path, content):
    (tmp_path / "model_index.json").write_text(content)
    assert refused(RecipeError, "generate", Generate(model=str(tmp_path)), None).startswith("recipe.generate.model is ")


@pytest.mark.parametrize("content", [b"", b"\xff" * 40])
def test_damaged_weights_are_an_error_that_names_the_field(folder, content):
    (folder / "transformer" / "weights.safetensors").write_bytes(content)
    assert refused(RecipeError, "generate", Generate(model=str(folder)), None).startswith("recipe.generate.model is ")


@pytest.mark.parametrize("section", [Generate(width=72), Generate(height=72)])
def test_a_size_that_the_model_cannot_draw_is_refused(folder, section):
    spec = resolve("generate", Generate(model=str(folder)), None)
    name = "width" if section.width else "height"
    with pytest.raises(RecipeError) as caught:
        check_settings("generate", section, spec)
    assert str(caught.value) == (
        f"recipe.generate.{name} is 72: the model 'mine' draws sizes that are multiples of 16 pixels, for instance 64."
    )


def test_the_size_that_is_offered_instead_can_be_drawn(folder):
    spec = resolve("generate", Generate(model=str(folder)), None)
    with pytest.raises(RecipeError, match="for instance 16"):
        check_settings("generate", Generate(width=8), spec)


def test_a_negative_prompt_that_the_model_does_not_read_is_refused(folder):
    spec = resolve("generate", Generate(model=str(folder)), None)
    with pytest.raises(RecipeError, match="negative_prompt is 'blur', but the model 'mine' makes no use of negative"):
        check_settings("generate", Generate(negative_prompt="blur"), spec)
    check_settings("generate", Generate(), spec)


@pytest.mark.parametrize("revision", [None, "main", "v1", COMMIT])
def test_a_repository_that_is_only_in_the_cache_resolves_to_its_commit(hub, revision):
    spec = resolve("generate", Generate(model="studio/painter", revision=revision), hub)
    assert (spec.source, spec.revision, spec.files) == ("studio/painter", COMMIT, None)
    assert (spec.pipeline, spec.cache_dir) == ("FluxPipeline", hub)


@pytest.mark.parametrize(("model", "revision"), [("studio/other", None), ("studio/painter", "v2")])
def test_a_repository_that_is_not_in_the_cache_is_unknown_offline(hub, model, revision):
    message = refused(UnknownModel, "generate", Generate(model=model, revision=revision), hub)
    assert message == (
        f"recipe.generate.model: {model!r} is not in the local cache, and the hub cannot be reached "
        "(OfflineModeIsEnabled). Connect, or name a local folder."
    )


def test_the_commit_is_part_of_the_identity_and_the_cache_is_not(hub, tmp_path):
    here = resolve("generate", Generate(model="studio/painter"), hub)
    shutil.copytree(hub, tmp_path / "copy")
    there = resolve("generate", Generate(model="studio/painter"), str(tmp_path / "copy"))
    assert here.identity == there.identity
    assert here.identity["revision"] == COMMIT
