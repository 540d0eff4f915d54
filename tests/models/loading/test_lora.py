"""LoRAs: exactly one file each, loaded onto the model that names them and no other, or one message."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from imagemill.data.config.steps import Edit, Generate
from imagemill.data.errors import RecipeError
from imagemill.data.images.codec import decode_image
from imagemill.data.images.provenance.details import LoraDetails
from imagemill.data.staging.store import Staging
from imagemill.models.catalog.resolve import resolve
from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.drawing.draw import draw
from imagemill.models.loading import pipeline_cache
from imagemill.models.loading.lora import lora_details
from imagemill.models.loading.pipeline_cache import resident_pipeline
from tests.models.adapters import save_lora
from tests.models.jobs import PNG, make_job, silent
from tests.models.tiny import save_tiny

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def lora(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA for the small Flux model."""
    return save_lora(model, tmp_path_factory.mktemp("lora") / "style.safetensors")


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_cache, "_resident", {})


@pytest.fixture
def generated(model: Path, tmp_path: Path) -> Callable[..., np.ndarray]:
    """Generates one image with these LoRAs."""
    number = iter(range(100))

    def run(lora: Any) -> np.ndarray:
        folder = tmp_path / str(next(number))
        job = make_job(model, folder, ["a fox"], spec=spec_with(model, lora))
        draw(job, silent)
        content, _ = Staging(folder).read(job.drawings[0].key, PNG.name)
        # The file names its LoRAs too.
        return np.asarray(decode_image(content, "a fox"))

    return run


def spec_with(model: Path, lora: Any) -> ModelSpec:
    return resolve("generate", Generate(model=str(model), lora=lora))


def test_two_sets_of_loras_on_one_model_do_not_mix(generated: Callable, model: Path, lora: Path, tmp_path: Path):
    other = save_lora(model, tmp_path / "other.safetensors", seed=1)
    sets = [None, str(lora), str(other), [str(lora), str(other)], {"source": str(lora), "weight": 0.5}]
    first = [generated(loras).tobytes() for loras in sets]
    assert len(set(first)) == len(sets)
    assert [generated(loras).tobytes() for loras in sets] == first


def test_a_weight_of_zero_generates_as_the_model_does_alone(generated: Callable, lora: Path):
    assert np.array_equal(generated({"source": str(lora), "weight": 0}), generated(None))


def test_a_lora_is_named_by_its_file_and_by_the_hash_of_its_tensors(model: Path, lora: Path):
    (found,) = lora_details(spec_with(model, {"source": str(lora), "weight": 0.5}))
    content = lora.read_bytes()
    tensors = content[8 + int.from_bytes(content[:8], "little") :]
    assert found == LoraDetails("style", hashlib.sha256(tensors).hexdigest(), 0.5)


def test_only_what_a_lora_changes_is_loaded_again(model: Path, lora: Path):
    plain, styled = (resident_pipeline(spec_with(model, source), silent).components for source in (None, str(lora)))
    shared = {name for name, part in plain.items() if isinstance(part, torch.nn.Module) and styled[name] is part}
    assert shared == {"text_encoder", "text_encoder_2", "vae"}


def test_a_text_encoder_that_a_lora_changes_is_not_shared(tmp_path: Path):
    model = save_tiny("StableDiffusionPipeline", tmp_path)
    lora = save_lora(model, tmp_path / "words.safetensors", part="text_encoder")
    plain, styled = (resident_pipeline(spec_with(model, source), silent) for source in (None, str(lora)))
    assert plain.text_encoder is not styled.text_encoder
    assert plain.vae is styled.vae


def test_the_bytes_and_the_weight_are_in_the_identity_and_the_path_is_not(model: Path, lora: Path, tmp_path: Path):
    moved = shutil.copy(lora, tmp_path / "moved.safetensors")
    identity = spec_with(model, str(lora)).identity
    assert spec_with(model, str(moved)).identity == identity
    assert spec_with(model, {"source": str(lora), "weight": 0.5}).identity != identity
    assert spec_with(model, str(save_lora(model, tmp_path / "b.safetensors", 1))).identity != identity
    assert "lora" not in spec_with(model, None).identity


def test_a_repository_is_known_by_its_commit(model: Path, lora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    repository = tmp_path / "models--studio--style"
    (repository / "snapshots" / COMMIT).mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    shutil.copy(lora, repository / "snapshots" / COMMIT / "style.safetensors")
    spec = resolve("generate", Generate(model=str(model), lora="studio/style"), str(tmp_path))
    assert spec.identity["lora"] == [
        {"repository": "studio/style", "revision": COMMIT, "name": "style.safetensors", "weight": 1.0}
    ]
    pipeline = resident_pipeline(spec, silent)
    assert pipeline.get_active_adapters() == ["lora_0"]


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda folder: "nowhere.safetensors", "neither a .safetensors file"),
        (lambda folder: save_file({"w": np.ones(2)}, folder / "w.safetensors"), "is no LoRA.*'w'"),
        (lambda folder: (folder / "w.safetensors").write_text("version https://git-lfs"), "not safetensors"),
        (lambda folder: folder.joinpath("notes.txt").write_text("none here"), r"0 .safetensors files \(none\)"),
        (lambda folder: [save_file({"w": np.ones(2)}, folder / f"{n}.safetensors") for n in "ab"], "weight_name"),
    ],
    ids=["absent", "no LoRA", "damaged", "empty", "several"],
)
def test_anything_but_a_lora_is_one_error_that_names_the_field(
    model: Path, tmp_path: Path, write: Callable, words: str
):
    written = write(tmp_path)
    source = written if isinstance(written, str) else str(tmp_path)
    with pytest.raises(RecipeError, match=rf"^recipe\.edit\.lora\.0\..*{words}"):
        resolve("edit", Edit(model=str(model), lora=source))


@pytest.mark.parametrize("family", ["StableDiffusionPipeline", "StableDiffusion3Pipeline"])
def test_a_lora_of_another_model_is_one_error_that_names_both(lora: Path, tmp_path: Path, family: str):
    model = save_tiny(family, tmp_path)
    with pytest.raises(RecipeError, match=rf"style\.safetensors' does not fit the model '{family}'"):
        resident_pipeline(spec_with(model, str(lora)), silent)
