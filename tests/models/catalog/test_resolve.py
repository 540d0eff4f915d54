"""A model's name resolves to exactly one model, or to a message that says what is wrong with which field."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from imagemill.data.config.steps import Edit, Generate
from imagemill.data.errors import RecipeError, UnknownModel
from imagemill.models.catalog.entries import read_catalog
from imagemill.models.catalog.resolve import Resolver, resolve
from imagemill.models.catalog.source import Locator
from tests.models.catalog.folders import COMMIT, write_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_model(tmp_path / "mine")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The hub's cache with one model in it; the hub itself is out of reach."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    cache = tmp_path / "hub"
    repository = cache / "models--studio--painter"
    write_model(repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    for name in ("main", "v1"):
        (repository / "refs" / name).write_text(COMMIT)
    return str(cache)


def refusal(error: type[RecipeError], step: str, section: Generate | Edit, cache_dir: str | None = None) -> str:
    with pytest.raises(error) as caught:
        resolve(step, section, cache_dir)
    return str(caught.value)


def test_an_unknown_name_offers_the_nearest_three():
    assert refusal(UnknownModel, "generate", Generate(model="sdxl-trubo")) == (
        "recipe.generate.model is 'sdxl-trubo', which is neither in the catalog (nearest: sdxl-turbo, sdxl, "
        f"sd-3.5-large-turbo; `imagemill models` lists all {len(read_catalog().models)}), a local folder with "
        "model_index.json, nor an 'org/name' repository."
    )


def test_a_folder_without_an_index_is_unknown(tmp_path: Path):
    assert refusal(UnknownModel, "edit", Edit(model=str(tmp_path))).startswith("recipe.edit.model is '/")


def test_an_existing_folder_is_never_asked_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("imagemill.models.hub.resolve_commit", lambda *_: pytest.fail("the hub was asked"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "forms" / "modular").mkdir(parents=True)
    assert refusal(UnknownModel, "generate", Generate(model="forms/modular")) == (
        "recipe.generate.model is 'forms/modular', a folder without model_index.json: name the one that diffusers' "
        "save_pretrained() wrote."
    )
    (tmp_path / "forms" / "modular" / "modular_model_index.json").write_text("{}")
    assert "a folder with a modular pipeline" in refusal(UnknownModel, "generate", Generate(model="forms/modular"))


@pytest.mark.parametrize("name", ["mine.safetensors", "mine.CKPT", "mine.gguf", "studio/mine.safetensors"])
def test_a_checkpoint_file_that_cannot_be_loaded_says_why_and_what_to_do(name: str, tmp_path: Path):
    path = tmp_path / name
    assert "a file that does not exist" in refusal(UnknownModel, "generate", Generate(model=str(path)))
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"weights")
    message = refusal(RecipeError, "generate", Generate(model=str(path)))
    if path.suffix == ".gguf":
        assert "parts: {transformer: FILE}" in message
    elif path.suffix == ".safetensors":
        assert "is not safetensors: it has no header" in message
    else:
        assert f'from_single_file("{path}").save_pretrained("{path.with_suffix("")}")' in message


def test_a_folder_with_a_checkpoint_alone_names_the_file(tmp_path: Path):
    (tmp_path / "pony.safetensors").write_bytes(b"weights")
    message = refusal(UnknownModel, "generate", Generate(model=str(tmp_path)))
    assert "a folder without model_index.json. If its 'pony.safetensors' holds a whole model, name that" in message


@pytest.mark.parametrize(
    ("index", "words"),
    [
        (
            '{"_class_name": ["pipeline_mine", "MyPipeline"]}',
            "names its own code as pipeline (['pipeline_mine', 'MyPipeline'])",
        ),
        ('{"_class_name": null}', "names no pipeline class (_class_name)"),
        ("{}", "names no pipeline class (_class_name)"),
        ("[]", "names no pipeline class (_class_name)"),
        ("{", "is not JSON"),
    ],
)
def test_an_index_without_a_class_of_diffusers_is_refused(folder: Path, index: str, words: str):
    (folder / "model_index.json").write_text(index)
    assert words in refusal(RecipeError, "generate", Generate(model=str(folder)))


def test_a_folder_has_the_family_and_the_dtype_of_its_files(folder: Path):
    spec = resolve("generate", Generate(model=str(folder)))
    assert (spec.pipeline, spec.dtype) == ("FluxPipeline", "float16")
    assert resolve("edit", Edit(model=str(folder))).pipeline == "FluxKontextPipeline"


def test_a_strength_is_part_of_the_identity(folder: Path):
    first, second = (
        resolve("edit", Edit(model=str(folder), task="image-to-image", strength=strength)) for strength in (None, 0.5)
    )
    assert (first.call.arguments, second.call.arguments) == ({"strength": 0.6}, {"strength": 0.5})
    assert first.identity != second.identity


def test_a_dtype_is_part_of_the_identity(folder: Path):
    first, second = (resolve("generate", Generate(model=str(folder), dtype=dtype)) for dtype in ("auto", "float32"))
    assert first.identity != second.identity
    assert first.weights_key != second.weights_key


def test_a_revision_of_a_folder_is_refused(folder: Path):
    assert refusal(RecipeError, "generate", Generate(model=str(folder), revision="main")) == (
        f"recipe.generate.revision is 'main', but {str(folder)!r} is on this machine, where it has no revisions: "
        "leave it out."
    )


def test_a_pipeline_that_cannot_be_called_yet_says_so(tmp_path: Path):
    folder = write_model(tmp_path / "video", "VideoPipeline")
    message = refusal(RecipeError, "generate", Generate(model=str(folder)))
    assert "a VideoPipeline, which imagemill cannot call. It can call StableDiffusionPipeline," in message


def test_a_repository_without_a_safety_checker_cannot_be_asked_for_one(hub: str):
    section = Generate(model="studio/painter", safety="flag")
    message = refusal(RecipeError, "generate", section, hub)
    assert "safety is 'flag', but the model 'studio/painter' ships no" in message


@pytest.mark.parametrize("revision", [None, "main", "v1", COMMIT])
def test_a_repository_that_is_only_in_the_cache_resolves_to_its_commit(hub: str, revision: str | None):
    spec = resolve("generate", Generate(model="studio/painter", revision=revision), hub)
    assert (spec.source.location, spec.source.commit, spec.source.files) == ("studio/painter", COMMIT, None)
    assert (spec.pipeline, spec.cache_dir) == ("FluxPipeline", hub)


@pytest.mark.parametrize(("model", "revision"), [("studio/other", None), ("studio/painter", "v2")])
def test_a_repository_that_is_not_in_the_cache_is_unknown_offline(hub: str, model: str, revision: str | None):
    assert refusal(UnknownModel, "generate", Generate(model=model, revision=revision), hub) == (
        f"recipe.generate.model: {model!r} is not in the local cache, and the hub cannot be reached "
        "(OfflineModeIsEnabled). Connect, or name a local folder."
    )


def test_a_pinned_commit_counts_and_the_hub_is_not_asked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("imagemill.models.hub.resolve_commit", lambda *_: pytest.fail("the hub was asked"))
    pinned = {"studio/style@default": "a" * 40, "stabilityai/stable-diffusion-xl-base-1.0@v1": "b" * 40}
    lora = {"source": "studio/style", "weight_name": "style.safetensors"}
    spec = Resolver(read_catalog(), Locator(pinned=pinned)).resolve(
        "generate", Generate(model="sdxl", revision="v1", lora=lora)
    )
    assert {source.pin: source.commit for source in spec.sources} == pinned


def test_the_commit_is_part_of_the_identity_and_the_cache_is_not(hub: str, tmp_path: Path):
    here = resolve("generate", Generate(model="studio/painter"), hub)
    shutil.copytree(hub, tmp_path / "copy")
    there = resolve("generate", Generate(model="studio/painter"), str(tmp_path / "copy"))
    assert here.identity == there.identity
    assert here.identity["revision"] == COMMIT
