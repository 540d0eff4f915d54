"""An entry of a models file may be a single file, with settings that the file does not show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from imagemill.data.config.steps import Edit, Generate
from imagemill.data.errors import RecipeError, UnknownModel
from imagemill.data.records import Drawing
from imagemill.models.catalog.entries import read_catalog
from imagemill.models.catalog.resolve import resolve
from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.download.inventory import list_models
from imagemill.models.download.pull import pull
from imagemill.models.loading import pipeline_cache
from tests.models.jobs import generated
from tests.models.tiny.single_file import make, save_single_file


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of the test's own, and no way to the Hub."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("imagemill.models.hub.resolve_commit", lambda *_: pytest.fail("the hub was asked"))
    monkeypatch.setattr(pipeline_cache, "_resident", {})


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A single file of Stable Diffusion XL, beside which the models file lies."""
    return save_single_file(tmp_path_factory.mktemp("models") / "pony.safetensors", make("sdxl"))


def models_file(folder: Path, entry: dict[str, Any]) -> str:
    path = folder / "models.yaml"
    path.write_text(yaml.safe_dump({"models": {"pony": {"family": "StableDiffusionXLPipeline", **entry}}}))
    return str(path)


def spec_of(file: Path, **entry: Any) -> ModelSpec:
    section = Generate(model="pony")
    return resolve("generate", section, models_file=models_file(file.parent, {"file": file.name, **entry}))


@pytest.mark.slow
def test_its_settings_count_and_its_image_is_that_of_the_file(file: Path, tmp_path: Path):
    spec = spec_of(file, preset="lightning-4", width=512, height=768, dtype="float32", licence="my own")
    assert (spec.name, spec.licence, spec.dtype) == ("pony", "my own", "float32")
    assert (spec.defaults.width, spec.defaults.height) == (512, 768)
    assert (spec.defaults.steps, spec.defaults.guidance_scale, spec.scheduler) == (4, 0, "euler trailing")
    plain = resolve("generate", Generate(model=str(file), scheduler="euler trailing", dtype="float32"))
    assert spec.identity == plain.identity
    row = Drawing(f"{1:032x}", "a fox", seed=3, steps=4, guidance_scale=0.0, width=64, height=64)
    images = [generated(it, tmp_path / place, [row])[0] for place, it in (("entry", spec), ("file", plain))]
    assert np.array_equal(*images)


@pytest.mark.slow
def test_its_dtype_is_the_entrys_else_that_of_the_file(file: Path):
    assert spec_of(file).dtype == "float32"
    assert spec_of(file, dtype="bfloat16").dtype == "bfloat16"


@pytest.mark.slow
def test_a_file_of_flux_may_be_kontext_and_no_other_family(tmp_path: Path):
    file = save_single_file(tmp_path / "kontext.safetensors", make("flux dev"))
    path = models_file(tmp_path, {"family": "FluxKontextPipeline", "file": file.name})
    spec = resolve("edit", Edit(model="pony", task="instruction"), models_file=path)
    assert (spec.pipeline, spec.defaults.guidance_scale) == ("FluxKontextPipeline", 2.5)
    with pytest.raises(RecipeError, match=r"whose family is StableDiffusionXLPipeline, but its file .* FluxPipeline: "):
        spec_of(file)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"file": "pony.safetensors", "folder": "pony"}, "give one of 'repository'"),
        ({}, "give one of 'repository'"),
        ({"file": "pony.ckpt"}, "models.pony.file"),
    ],
)
def test_an_entry_names_one_place_and_no_pickled_file(entry: dict[str, Any], words: str, tmp_path: Path):
    with pytest.raises(RecipeError, match=words):
        read_catalog(models_file(tmp_path, entry))


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    path = models_file(tmp_path, {"file": "lost.safetensors"})
    with pytest.raises(
        UnknownModel, match=r"recipe\.generate\.model is 'pony', but its file .*lost\.safetensors' does"
    ):
        resolve("generate", Generate(model="pony"), models_file=path)


def test_it_is_listed_with_its_size_and_needs_no_download(tmp_path: Path):
    (tmp_path / "pony.safetensors").write_bytes(bytes(100))
    path = models_file(tmp_path, {"file": "pony.safetensors"})
    listed = next(model for model in list_models(path) if model["key"] == "pony")
    assert (listed["cached"], listed["cached_bytes"]) == ("folder", 100)
    assert listed["folder"] == str(tmp_path / "pony.safetensors")
    pulled = pull("pony", models_file=path)
    assert (pulled.folder, pulled.bytes, pulled.is_scorer) == (listed["folder"], 100, False)
