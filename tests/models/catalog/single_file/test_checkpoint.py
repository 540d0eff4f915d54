"""What a single file is, is read from its header, and said where it is no model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from imagemill.data.config.steps import Generate
from imagemill.data.errors import RecipeError
from imagemill.models.catalog.resolve import resolve
from imagemill.models.catalog.single_file.checkpoint import read_checkpoint


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def refusal(path: Path) -> str:
    with pytest.raises(RecipeError) as error:
        resolve("generate", Generate(model=str(path)))
    return str(error.value)


def original(kind: str) -> dict[str, np.ndarray]:
    """The tensors of a tiny model's single file."""
    from tests.models.tiny.single_file import make, original_tensors

    return {name: tensor.clone().contiguous().numpy() for name, tensor in original_tensors(make(kind)).items()}


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["lora_unet_down_blocks_0.lora_down.weight"], "a LoRA: name a model, and this file in the step's lora"),
        (["transformer.blocks.0.lora_A.weight"], "a LoRA"),
        (["control_model.input_blocks.0.0.weight"], "a ControlNet"),
        (["distilled_guidance_layer.in_proj.bias"], "the transformer of Chroma, and no whole model"),
        (["double_stream_modulation_img.lin.weight"], "the transformer of FLUX.2"),
        (["encoder.down.0.block.0.conv1.weight"], "an autoencoder, and no whole model: name the model's folder"),
        (["text_model.encoder.layers.0.mlp.fc1.weight"], "a text encoder"),
        (["something.else"], "no checkpoint that imagemill knows (1 tensors, such as 'something.else')"),
    ],
)
def test_a_file_of_another_kind_says_what_it_is_and_what_to_do(names: list[str], words: str, tmp_path: Path):
    save_file({name: np.zeros(2, np.float32) for name in names}, tmp_path / "other.safetensors")
    assert words in refusal(tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"12345678",
        b"\xff" * 64,
        (2).to_bytes(8, "little") + b"[]",
        (40).to_bytes(8, "little") + b'{"a": {"dtype": "F32", "shape": "x"}}'.ljust(40),
        (60).to_bytes(8, "little") + b'{"a": {"dtype":"F32","shape":[9],"data_offsets":[0,36]}}'.ljust(60),
    ],
)
def test_a_file_that_is_damaged_is_refused_in_one_sentence(content: bytes, tmp_path: Path):
    (tmp_path / "bad.safetensors").write_bytes(content)
    assert "Copy or download it again" in refusal(tmp_path / "bad.safetensors").replace("copy", "Copy")


@pytest.mark.slow
def test_a_file_without_all_parts_names_those_that_it_lacks(tmp_path: Path):
    tensors = {name: tensor for name, tensor in original("flux dev").items() if name.startswith("model.")}
    save_file(tensors, tmp_path / "alone.safetensors")
    assert "has no text_encoder and no text_encoder_2 and no vae: only transformer" in refusal(
        tmp_path / "alone.safetensors"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("extra", "metadata", "kind", "expected"),
    [
        ({}, {}, "sdxl", {"prediction_type": "epsilon", "timestep_spacing": "leading"}),
        ({"v_pred": []}, {}, "sdxl", {"prediction_type": "v_prediction", "timestep_spacing": "leading"}),
        (
            {"v_pred": [], "ztsnr": []},
            {},
            "sdxl",
            {"prediction_type": "v_prediction", "timestep_spacing": "trailing", "rescale_betas_zero_snr": True},
        ),
        ({}, {"modelspec.prediction_type": "v"}, "sdxl", {"prediction_type": "v_prediction"}),
        ({}, {}, "sd-2", {"prediction_type": "epsilon"}),
        ({"bias": [-0.2, 0.2]}, {}, "sd-2", {"prediction_type": "v_prediction"}),
        ({"bias": [-0.01, 0.01]}, {}, "sd-2", {"prediction_type": "epsilon"}),
    ],
)
def test_what_the_denoiser_predicts_is_read_from_the_file(
    extra: dict[str, list[float]], metadata: dict[str, str], kind: str, expected: dict[str, object], tmp_path: Path
):
    tensors = original(kind)
    bias = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias"
    for name, values in extra.items():
        tensors[bias if name == "bias" else name] = np.array(values, np.float32)
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}.safetensors"
    save_file(tensors, path, metadata or None)
    found = read_checkpoint("model", path).scheduler
    assert {name: found.get(name) for name in expected} == expected


@pytest.mark.slow
def test_the_configuration_is_made_once_and_holds_no_weights(tmp_path: Path):
    from imagemill.models.catalog.single_file.folder import config_folder

    path = tmp_path / "one.safetensors"
    save_file(original("sd-1.5"), path)
    folder = config_folder(read_checkpoint("model", path))
    assert json.loads((folder / "model_index.json").read_bytes())["_class_name"] == "StableDiffusionPipeline"
    assert {file.suffix for file in folder.rglob("*") if file.is_file()} == {".json", ".txt"}
    assert config_folder(read_checkpoint("model", path)) == folder
    assert [found.name for found in folder.parent.iterdir()] == [folder.name]
