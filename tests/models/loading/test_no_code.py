"""No file of a model's folder runs as code: a model is loaded as data, or refused."""

from __future__ import annotations

import json
import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from imagemill.data.config.steps import Generate
from imagemill.data.errors import ImagemillError
from imagemill.models.catalog.resolve import resolve
from imagemill.models.loading.pipeline import load_pipeline
from tests.models.tiny import save_tiny


class TouchesAFile:
    """Its pickle makes a file when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def pickled_weights(model: Path, marker: Path) -> None:
    for weights in model.rglob("*.safetensors"):
        weights.unlink()
        for name in ("diffusion_pytorch_model.bin", "pytorch_model.bin", "model.bin"):
            (weights.parent / name).write_bytes(pickle.dumps(TouchesAFile(marker)))


def pickles_beside_the_weights(model: Path, marker: Path) -> None:
    for weights in list(model.rglob("*.safetensors")):
        weights.with_suffix(".bin").write_bytes(pickle.dumps(TouchesAFile(marker)))
        torch.save({"x": torch.zeros(1)}, weights.with_suffix(".pt"))


def own_pipeline(model: Path, marker: Path) -> None:
    write_module(model / "pipeline.py", marker)
    change(model / "model_index.json", {"_class_name": ["pipeline", "OwnPipeline"]})


def own_component(model: Path, marker: Path) -> None:
    write_module(model / "unet" / "own_unet.py", marker)
    change(model / "model_index.json", {"unet": ["own_unet", "OwnUNet"]})


def component_of_an_installed_package(model: Path, marker: Path) -> None:
    change(model / "model_index.json", {"unet": ["pathlib", "Path"], "vae": ["subprocess", "Popen"]})


def own_classes(model: Path, marker: Path) -> None:
    names = ("AutoConfig", "AutoModel", "AutoTokenizer", "AutoImageProcessor", "AutoProcessor")
    own = {"auto_map": dict.fromkeys(names, "own_code.Own"), "tokenizer_class": "Own"}
    for config in model.rglob("*config.json"):
        write_module(config.parent / "own_code.py", marker)
        change(config, own)


def write_module(path: Path, marker: Path) -> None:
    path.write_text(f"from pathlib import Path\nPath({str(marker)!r}).touch()\n")


def change(path: Path, fields: dict[str, Any]) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


ATTACKS = (
    pickled_weights,
    pickles_beside_the_weights,
    own_pipeline,
    own_component,
    component_of_an_installed_package,
    own_classes,
)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_no_file_of_a_model_folder_runs(attack: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    marker = tmp_path / "ran"
    model = save_tiny("StableDiffusionPipeline", tmp_path)
    attack(model, marker)
    # The hub's settings that allow it, as another project on the machine may have them.
    monkeypatch.setenv("HF_ENABLE_TRUST_REMOTE_CODE", "1")
    with suppress(ImagemillError):
        load_pipeline(resolve("generate", Generate(model=str(model))), torch.device("cpu"), {}, lambda event: None)
    assert not marker.exists()


def test_the_marker_shows_that_code_ran(tmp_path: Path):
    pickle.loads(pickle.dumps(TouchesAFile(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()
