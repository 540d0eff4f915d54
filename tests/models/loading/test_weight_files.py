"""Which weight files of a folder are loaded: a variant where a part has nothing else, and never a pickle."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import ControlNetModel, DiffusionPipeline

from imagemill.data.config.adapters import Controlnet
from imagemill.data.config.steps import Generate
from imagemill.data.errors import RecipeError
from imagemill.models.catalog.resolve import resolve
from imagemill.models.catalog.weight_files import loaded_files, variant_of
from imagemill.models.loading.pipeline import extra_components, load_pipeline
from tests.models.controlnets import save_controlnet
from tests.models.tiny import save_tiny


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return save_tiny("StableDiffusionPipeline", tmp_path)


def save_variant(plain: Path, to: Path, shards: bool = False, variant: str = "fp16") -> Path:
    pipeline = DiffusionPipeline.from_pretrained(plain, dtype=torch.float16, local_files_only=True)
    pipeline.save_pretrained(to, variant=variant, **({"max_shard_size": "20KB"} if shards else {}))
    return to


def load(folder: Path) -> Any:
    return load_pipeline(resolve("generate", Generate(model=str(folder))), torch.device("cpu"), {})


@pytest.mark.parametrize("shards", [False, True])
@pytest.mark.parametrize("variant", ["fp16", "bf16"])
def test_a_folder_with_a_variant_alone_is_loaded_from_it(plain: Path, tmp_path: Path, variant: str, shards: bool):
    folder = save_variant(plain, tmp_path / "variant", shards, variant)
    assert variant_of(folder) == variant
    assert any("-of-" in path.name for path in folder.glob("*/*.safetensors")) is shards
    expected = DiffusionPipeline.from_pretrained(plain, dtype=torch.float16, local_files_only=True)
    loaded = load(folder)
    for part in ("unet", "vae", "text_encoder"):
        weights = getattr(loaded, part).state_dict()
        for name, weight in getattr(expected, part).state_dict().items():
            assert torch.equal(weights[name], weight), name


def test_a_part_alone_may_have_a_variant(plain: Path, tmp_path: Path):
    folder = save_variant(plain, tmp_path / "variant")
    for weights in (folder / "unet").glob("*.safetensors"):
        weights.unlink()
    weights = plain / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(folder / "unet" / weights.name)
    assert load(folder).unet is not None


def test_a_folder_that_has_all_parts_without_a_variant_is_loaded_from_these(plain: Path, tmp_path: Path):
    save_variant(plain, plain)
    assert variant_of(plain) is None
    assert [path.name for path in loaded_files(plain / "unet")] == ["diffusion_pytorch_model.safetensors"]
    [weights] = loaded_files(plain / "unet", "fp16")
    assert weights.name == "diffusion_pytorch_model.fp16.safetensors"


def test_shards_that_the_index_does_not_list_are_not_counted(plain: Path, tmp_path: Path):
    folder = save_variant(plain, tmp_path / "variant", shards=True)
    shards = loaded_files(folder / "unet", "fp16")
    assert len(shards) > 1
    (folder / "unet" / "diffusion_pytorch_model.fp16-00009-of-00009.safetensors").write_bytes(b"")
    assert loaded_files(folder / "unet", "fp16") == shards


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_the_command_for_a_pickled_part_converts_the_model(plain: Path, tmp_path: Path, variant: str | None):
    folder = tmp_path / 'a "quoted" name'
    pipeline = DiffusionPipeline.from_pretrained(plain, local_files_only=True)
    pipeline.save_pretrained(folder, variant=variant)
    for weights in (folder / "unet").glob("*.safetensors"):
        weights.unlink()
    pipeline.unet.save_pretrained(folder / "unet", safe_serialization=False, variant=variant)
    with pytest.raises(
        RecipeError, match=r"unet has only 'diffusion_pytorch_model.*bin'\. To open such a file"
    ) as caught:
        resolve("generate", Generate(model=str(folder)))
    command = str(caught.value).partition("name the new folder: ")[2]
    subprocess.run(command.replace("python", sys.executable, 1), shell=True, check=True, capture_output=True)
    assert load(Path(f"{folder}-safetensors")).unet is not None


def test_a_controlnet_with_a_variant_alone_is_loaded_from_it(plain: Path, tmp_path: Path):
    controlnet = save_controlnet(plain, tmp_path / "plain")
    ControlNetModel.from_pretrained(controlnet).save_pretrained(tmp_path / "variant", variant="fp16")
    section = Generate(model=str(plain), controlnet=Controlnet(model=str(tmp_path / "variant")))
    assert set(extra_components(resolve("generate", section), torch.device("cpu"))) == {"controlnet"}
