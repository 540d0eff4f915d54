"""IP-Adapters: a row's image is a prompt beside the text, and an IP-Adapter that does not fit is one message."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from imagemill.data.config.steps import Generate
from imagemill.data.errors import RecipeError
from imagemill.data.records import Drawing
from imagemill.models.catalog.resolve import resolve
from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.catalog.tried import WITH_IP_ADAPTER
from imagemill.models.loading import pipeline_cache
from imagemill.models.loading.pipeline_cache import resident_pipeline
from tests.models.controlnets import save_controlnet
from tests.models.ip_adapters import save_ip_adapter
from tests.models.jobs import generated, silent
from tests.models.tiny import save_tiny

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SD = "StableDiffusionPipeline"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ip-adapters")


@pytest.fixture(scope="module")
def tiny(folder: Path) -> Callable[[str], tuple[Path, Path]]:
    """Family -> the folders of a tiny pipeline and of an IP-Adapter for it, made on first need."""

    def made(family: str) -> tuple[Path, Path]:
        model, adapter = folder / family, folder / f"{family}-adapter"
        if not model.is_dir():
            save_ip_adapter(save_tiny(family, folder), adapter)
        return model, adapter

    return made


@pytest.fixture(scope="module")
def images(folder: Path) -> list[Path]:
    """Two image prompts, of other sizes than the generated images."""
    Image.linear_gradient("L").resize((90, 50)).convert("RGB").save(folder / "slope.png")
    Image.radial_gradient("L").resize((40, 40)).convert("RGB").save(folder / "ring.png")
    return [folder / "slope.png", folder / "ring.png"]


def spec_with(model: Path, adapter: Path | None, **more: Any) -> ModelSpec:
    named = {"subfolder": "models", "weight_name": "adapter.safetensors"}
    section = None if adapter is None else {"model": str(adapter), **named, **more.pop("named", {})}
    return resolve("generate", Generate(model=str(model), ip_adapter=section, **more))


def drawing(number: int, image: Path, prompt: str = "a fox", **guides: Path) -> Drawing:
    found = tuple(
        (role, str(path), sha256(path.read_bytes()).hexdigest())
        for role, path in {"image_prompt": image, **guides}.items()
    )
    size = {"width": 64, "height": 96}
    return Drawing(f"{number:032x}", prompt, seed=3, steps=2, guidance_scale=3.0, guides=found, **size)


@pytest.mark.parametrize("family", WITH_IP_ADAPTER)
def test_the_image_prompt_and_the_scale_decide_and_neighbours_do_not(tiny, images, tmp_path, family):
    model, adapter = tiny(family)
    slope, ring = images
    spec, weak = spec_with(model, adapter), spec_with(model, adapter, named={"scale": 0.5})
    first, other, again = generated(spec, tmp_path, [drawing(0, slope), drawing(1, ring, "a kite"), drawing(2, slope)])
    (turned,) = generated(spec, tmp_path, [drawing(3, ring)])
    (weaker,) = generated(weak, tmp_path, [drawing(4, slope)])
    (back,) = generated(spec, tmp_path, [drawing(5, slope)])
    assert (first == again).all()
    assert (first == back).all()
    assert [name for name in (other, turned, weaker) if (name == first).all()] == []


def test_at_scale_zero_it_generates_as_the_model_does_alone(tiny, images, tmp_path):
    model, adapter = tiny(SD)
    (weakest,) = generated(spec_with(model, adapter, named={"scale": 0}), tmp_path, [drawing(0, images[0])])
    (alone,) = generated(spec_with(model, None), tmp_path, [drawing(1, images[0])], batch_size=1)
    assert np.array_equal(weakest, alone)


def test_it_generates_together_with_a_controlnet(tiny, images, tmp_path):
    model, adapter = tiny(SD)
    controlnet = str(save_controlnet(model, tmp_path / "controlnet"))
    spec = spec_with(model, adapter, controlnet=controlnet)
    slope, ring = images
    pairs = [(slope, slope), (slope, ring), (ring, slope)]
    found = generated(
        spec, tmp_path, [drawing(n, prompt, control_image=control) for n, (prompt, control) in enumerate(pairs)]
    )
    assert len({image.tobytes() for image in found}) == 3


def test_only_what_an_ip_adapter_changes_is_loaded_again(tiny, monkeypatch):
    monkeypatch.setattr(pipeline_cache, "_resident", {})
    model, adapter = tiny(SD)
    plain = resident_pipeline(spec_with(model, None), silent).components
    steered = resident_pipeline(spec_with(model, adapter), silent).components
    assert plain["unet"] is not steered["unet"]
    assert plain["unet"].config.encoder_hid_dim_type is None
    assert [plain[name] is steered[name] for name in ("vae", "text_encoder")] == [True, True]


def test_the_files_and_the_scale_are_in_the_identity_and_the_path_is_not(tiny, tmp_path):
    model, adapter = tiny(SD)
    moved = shutil.copytree(adapter, tmp_path / "moved")
    identity = spec_with(model, adapter).identity
    assert spec_with(model, moved).identity == identity
    assert spec_with(model, adapter, named={"scale": 0.5}).identity != identity
    config = moved / "models/image_encoder/config.json"
    config.write_text(config.read_text() + " ")
    assert spec_with(model, moved).identity != identity
    assert "ip_adapter" not in spec_with(model, None).identity


def test_a_repository_is_known_by_its_commit(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    model, adapter = tiny(SD)
    repository = tmp_path / "models--studio--look"
    shutil.copytree(adapter, repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    section = {"model": "studio/look", "subfolder": "models", "weight_name": "adapter.safetensors"}
    spec = resolve("generate", Generate(model=str(model), ip_adapter=section), str(tmp_path))
    files = {"file": "models/adapter.safetensors", "encoder": "models/image_encoder"}
    source = {"repository": "studio/look", "revision": COMMIT}
    assert spec.identity["ip_adapter"] == {**source, **files, "scale": 1.0}
    assert resident_pipeline(spec, silent).image_encoder is not None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "nowhere/at/all"}, "neither a folder on this machine nor an 'org/name' repository"),
        (
            {"weight_name": "other.safetensors"},
            "is not in .*; the .safetensors there: adapter.safetensors, w",
        ),
        ({"weight_name": "w.safetensors"}, "is no IP-Adapter: of its 1 tensors, such as 'w'"),
        ({"weight_name": "adapter.bin"}, "loads safetensors only"),
        ({"image_encoder": "absent"}, "'absent', but .* has no config.json"),
        ({"revision": "v1"}, "has no revisions"),
    ],
)
def test_anything_but_an_ip_adapter_is_one_error_that_names_the_field(tiny, tmp_path, change, words):
    model, adapter = tiny(SD)
    folder = shutil.copytree(adapter, tmp_path / "adapter")
    save_file({"w": np.ones(2)}, folder / "models/w.safetensors")
    with pytest.raises(RecipeError, match=rf"^recipe\.generate\.ip_adapter\..*{words}"):
        spec_with(model, folder, named=change)


def test_an_ip_adapter_of_another_model_is_one_error_that_names_both(tiny):
    model, (_, adapter) = tiny("StableDiffusionXLPipeline")[0], tiny(SD)
    with pytest.raises(RecipeError, match=r"IP-Adapter '.*' does not fit the model 'StableDiffusionXLPipeline'"):
        resident_pipeline(spec_with(model, adapter), silent)


def test_settings_and_models_that_exclude_an_ip_adapter_are_refused(tiny, tmp_path):
    model, adapter = tiny(SD)
    with pytest.raises(RecipeError, match=r"memory\.attention_slicing is true, which excludes"):
        spec_with(model, adapter, memory={"attention_slicing": True})
    other = save_tiny("ZImagePipeline", tmp_path)
    with pytest.raises(RecipeError, match=r"recipe\.generate\.ip_adapter is given, but .* takes none\. .*sd-1\.5"):
        spec_with(other, adapter)
