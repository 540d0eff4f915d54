"""A model that cannot be loaded is one RecipeError of one sentence: no traceback, and no further attempt."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import httpx2
import pytest
import torch

from imagemill.data.config.speed import Speed
from imagemill.data.config.steps import Generate
from imagemill.data.errors import RecipeError
from imagemill.models.catalog.resolve import resolve
from imagemill.models.loading import load_errors as errors
from imagemill.models.loading import pipeline_cache
from imagemill.models.loading.load_errors import first_line, is_sticky, load_errors
from imagemill.models.loading.pipeline_cache import resident_pipeline
from tests.models.jobs import silent
from tests.models.tiny import save_tiny


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_cache, "_resident", {})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_tiny("StableDiffusionPipeline", tmp_path)


def change(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def refusal(folder: Path, **settings: Any) -> str:
    with pytest.raises(RecipeError) as caught:
        resident_pipeline(resolve("generate", Generate(model=str(folder), **settings)), silent)
    assert pipeline_cache._resident == {}
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_part_that_comes_with_code_says_that_imagemill_never_runs_it(folder: Path):
    (folder / "unet" / "mine.py").write_text("class Mine: ...\n")
    change(folder / "model_index.json", unet=["mine", "Mine"])
    assert "asks for trust_remote_code, and imagemill never gives that. Take a model" in refusal(folder)


def test_a_config_that_fits_no_class_is_one_sentence(folder: Path):
    change(folder / "unet" / "config.json", block_out_channels=[8])
    assert refusal(folder).startswith(f"the model 'StableDiffusionPipeline' cannot be loaded from {str(folder)!r}: ")


def test_a_damaged_file_is_one_sentence(folder: Path):
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "cannot be loaded from" in refusal(folder)


def test_a_memory_format_that_the_autoencoder_cannot_have_names_the_setting(tmp_path: Path):
    message = refusal(save_tiny("QwenImagePipeline", tmp_path), speed=Speed(channels_last=True))
    assert message == (
        "the model 'QwenImagePipeline' cannot generate with speed.channels_last on this machine: required rank 4 "
        "tensor to use channels_last format. Leave it out."
    )


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        MemoryError(),
        httpx2.ReadTimeout("the download broke off"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_full_or_lost_device_or_a_bad_network_is_not_the_models_fault(folder: Path, error: Exception):
    with pytest.raises(type(error)), load_errors(resolve("generate", Generate(model=str(folder)))):
        raise error


def test_of_a_long_error_the_first_line_counts():
    assert first_line(RuntimeError("No GPU found.\nTraceback\n" + "x" * 9000)) == "No GPU found"
    assert first_line(RuntimeError("Errors in UNet:\n\tsize mismatch\n\tanother")) == "Errors in UNet: size mismatch"
    assert first_line(KeyError("weight_map")) == "KeyError: 'weight_map'"
    assert first_line(ValueError()) == "ValueError"
    assert len(first_line(ValueError("x" * 9000))) == 200


def test_a_device_that_does_not_answer_after_an_error_is_lost(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    error = RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED")
    assert not is_sticky(error)
    ended = threading.Event()
    monkeypatch.setattr(torch.cuda, "synchronize", ended.wait)
    monkeypatch.setattr(errors, "ANSWER_TIMEOUT_S", 0.01)
    assert is_sticky(error)
    ended.set()
