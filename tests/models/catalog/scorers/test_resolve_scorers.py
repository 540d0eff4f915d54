"""Resolution of a recipe's scorers: exact, without torch, and refused in a sentence that says what to do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from imagemill.data.config.recipe import Recipe
from imagemill.data.errors import RecipeError, UnknownModel
from imagemill.models.catalog.entries import read_catalog
from imagemill.models.catalog.scorers.resolve import duplicates_scorer, resolve_scorers
from imagemill.models.catalog.scorers.spec import PHASH, ScorerSpec
from imagemill.models.catalog.source import Locator, pin_of

COMMIT = "0123456789abcdef0123456789abcdef01234567"
EDIT = {"edit": {"model": "flux.1-kontext-dev", "instructions": ["make it red"]}}


def encoder(folder: Path, **changes: Any) -> Path:
    """A folder as a CLIP's, with weights of no use: resolution reads the config alone."""
    folder.mkdir(parents=True)
    config = {"model_type": "clip", "text_config": {}, "vision_config": {}, **changes}
    (folder / "config.json").write_text(
        json.dumps({name: value for name, value in config.items() if value is not None})
    )
    save_file({"weight": np.zeros(2, np.float32)}, folder / "model.safetensors")
    return folder


def recipe_of(sections: dict[str, Any], **more: Any) -> Recipe:
    fields = {"name": "n", "prompts": "p.txt", "output": "o", "generate": {"model": "flux.1-schnell"}, **EDIT}
    return Recipe.model_validate({**fields, **more, "scorers": sections})


def resolve(
    locator: Locator | None = None, duplicates: dict[str, Any] | None = None, **sections: Any
) -> dict[str, ScorerSpec]:
    return resolve_scorers(recipe_of(sections, duplicates=duplicates), locator or Locator(), read_catalog())


def refused(error: type[Exception] = RecipeError, **section: Any) -> str:
    with pytest.raises(error) as raised:
        resolve(fits=section)
    return str(raised.value)


def test_a_folder_is_known_by_its_files_and_not_by_its_place_or_name(tmp_path: Path):
    first = encoder(tmp_path / "first")
    second = shutil.copytree(first, tmp_path / "second")
    one, two = (
        resolve(**{name: {"kind": "similarity", "model": str(folder)}})[name].facts()
        for name, folder in (("a", first), ("b", second))
    )
    assert (one.id, one.identity["dtype"], one.identity["processor"]) == (two.id, "float32", "pil")
    (second / "config.json").write_text(json.dumps({"model_type": "clip", "text_config": {"layers": 3}}))
    assert resolve(b={"kind": "similarity", "model": str(second)})["b"].facts().id != one.id


@pytest.mark.parametrize(
    "change", [{"dtype": "bfloat16"}, {"against": "source"}, {"against": "direction"}], ids=lambda change: str(change)
)
def test_what_decides_a_score_is_in_the_identity(change: dict[str, Any], tmp_path: Path):
    section = {"kind": "similarity", "model": str(encoder(tmp_path / "clip"))}
    assert resolve(a=section)["a"].facts().id != resolve(a={**section, **change})["a"].facts().id


@pytest.mark.parametrize("change", [{"text": "caption"}, {"batch_size": 3}], ids=lambda change: str(change))
def test_what_decides_no_score_is_not(change: dict[str, Any], tmp_path: Path):
    section = {"kind": "similarity", "model": str(encoder(tmp_path / "clip"))}
    assert resolve(a=section)["a"].facts().id == resolve(a={**section, **change})["a"].facts().id


def test_a_scorer_reads_what_its_kind_says(tmp_path: Path):
    clip = {"kind": "similarity", "model": str(encoder(tmp_path / "clip"))}
    found = resolve(
        a=clip,
        b={**clip, "against": "source"},
        c={**clip, "against": "direction"},
        d={"kind": "pixels", "measure": "ssim"},
        e={"kind": "pixels", "measure": "entropy"},
        f={"kind": "formula", "text": "sqrt(a * b)"},
    )
    assert {name: sorted(spec.facts().reads) for name, spec in found.items()} == {
        "a": ["text"],
        "b": ["source"],
        "c": ["before", "source", "text"],
        "d": ["source"],
        "e": [],
    }


def test_a_catalogued_repository_has_its_licence_and_the_pinned_commit():
    locator = Locator(pinned={pin_of("openai/clip-vit-large-patch14", None): COMMIT})
    sections = {
        name: {"kind": "similarity", "model": model}
        for name, model in (("a", "clip-vit-large-patch14"), ("b", "OpenAI/CLIP-ViT-large-patch14"))
    }
    found = resolve(locator, **sections)
    assert {spec.facts().revision for spec in found.values()} == {COMMIT}
    assert {spec.licence for spec in found.values()} == {"MIT"}
    assert {spec.model for spec in found.values()} == {"clip-vit-large-patch14"}
    assert [source.pin for source in found["a"].sources] == ["openai/clip-vit-large-patch14@default"]


def test_a_head_is_one_file_of_its_folder(tmp_path: Path):
    clip, heads = str(encoder(tmp_path / "clip")), encoder(tmp_path / "heads")
    section = {"kind": "head", "model": clip}
    by_folder, by_file = (
        resolve(a={**section, "head": str(path)})["a"].facts().id for path in (heads, heads / "model.safetensors")
    )
    assert by_folder == by_file
    shutil.copy(heads / "model.safetensors", heads / "other.safetensors")
    assert "has 2 .safetensors files (model.safetensors, other.safetensors)" in refused(**section, head=str(heads))


def test_the_scorer_that_duplicates_are_found_by_keeps_vectors(tmp_path: Path):
    clip = {"kind": "similarity", "model": str(encoder(tmp_path / "clip"))}
    by_vector, by_hash = {"by": "a", "cosine": 0.97}, {"by": "phash"}
    found = resolve(duplicates=by_vector, a=clip, b=clip)
    assert [(spec.keeps_vector, spec.facts().has_vector) for spec in found.values()] == [(True, True), (False, False)]
    recipes = [recipe_of({"a": clip}, duplicates=by) for by in (by_vector, by_hash, None)]
    assert [duplicates_scorer(recipe, found) for recipe in recipes] == [found["a"], PHASH, None]


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"kind": "similarity", "model": "dinov2-base"}, "against is 'text', but 'dinov2-base' reads no texts"),
        (
            {"kind": "classify", "model": "pickscore", "label": "x"},
            "which serves similarity, not classify.",
        ),
        ({"kind": "classify", "model": "nsfw-image-detection", "label": "NSFW"}, "is 'NSFW'; the labels of"),
        (
            {"kind": "similarity", "model": "no such model"},
            "which is neither in the catalog nor a folder nor",
        ),
    ],
)
def test_a_model_that_cannot_do_it_is_refused(section: dict[str, Any], words: str):
    text = refused(**section) if "no such" in section["model"] else _refused_offline(section)
    assert text.startswith("recipe.scorers.fits.")
    assert words in text


def _refused_offline(section: dict[str, Any]) -> str:
    """The refusal of a repository in the catalog whose commit is pinned, so that nothing is downloaded."""
    catalog = read_catalog()
    pins = {pin_of(entry.repository, None): COMMIT for entry in catalog.scorers.values() if entry.repository}
    with pytest.raises(RecipeError) as raised:
        resolve(Locator(pinned=pins), fits=section)
    return str(raised.value)


def test_a_folder_of_another_kind_is_refused(tmp_path: Path):
    clip = {"kind": "similarity"}
    assert "has no config.json" in refused(UnknownModel, **clip, model=str(tmp_path))
    no_texts = encoder(tmp_path / "dino", model_type="dinov2", text_config=None)
    assert "reads no texts: set against to source" in refused(**clip, model=str(no_texts))
    pickled = encoder(tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    assert "has only 'pytorch_model.bin'. To open such a file can run its code" in refused(**clip, model=str(pickled))
    pipeline = encoder(tmp_path / "pipeline")
    (pipeline / "model_index.json").write_text("{}")
    assert "a pipeline that generates images" in refused(**clip, model=str(pipeline))
    assert "a file: name the folder" in refused(**clip, model=str(pickled / "config.json"))
    nameless = encoder(tmp_path / "nameless", model_type=None)
    assert "names no model_type" in refused(**clip, model=str(nameless))


def test_a_label_that_a_local_classifier_lacks_is_refused_with_its_labels(tmp_path: Path):
    labels = {str(number): f"label {number}" for number in range(30)}
    folder = encoder(tmp_path / "vit", model_type="vit", text_config=None, id2label=labels)
    text = refused(kind="classify", model=str(folder), label="cat")
    assert "is 'cat'; the labels of" in text
    assert "'label 0', 'label 1'" in text
    assert text.endswith("'label 19' and 10 more.")
    assert resolve(fits={"kind": "classify", "model": str(folder), "label": "label 29"})["fits"].label == "label 29"


def test_a_users_models_file_can_name_scorers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    encoder(tmp_path / "mine")
    file = tmp_path / "models.yaml"
    file.write_text("scorers:\n  mine: {kinds: [similarity], folder: mine, licence: my own, dtype: bfloat16}\n")
    monkeypatch.setenv("IMAGEMILL_MODELS", str(file))
    spec = resolve(fits={"kind": "similarity", "model": "mine"})["fits"]
    assert (spec.licence, spec.dtype, spec.model) == ("my own", "bfloat16", "mine")
