"""ControlNets: a row's control image steers its image, and a ControlNet that does not fit is one message."""

from __future__ import annotations

import inspect
import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
from PIL import Image

from imagemill.data.config.steps import Generate
from imagemill.data.errors import RecipeError
from imagemill.data.records import Drawing
from imagemill.models.catalog.resolve import read_catalog, resolve
from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.catalog.tried import WITH_CONTROLNET
from imagemill.models.loading import pipeline_cache
from imagemill.models.loading.pipeline_cache import resident_pipeline
from tests.models.controlnets import save_controlnet
from tests.models.jobs import generated, silent
from tests.models.tiny import save_tiny

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SD = "StableDiffusionPipeline"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("controlnets")


@pytest.fixture(scope="module")
def tiny(folder: Path) -> Callable[[str], tuple[Path, Path]]:
    """Family -> the folders of a tiny pipeline and of a ControlNet for it, made on first need."""

    def made(family: str) -> tuple[Path, Path]:
        model, controlnet = folder / family, folder / f"{family}-controlnet"
        if not model.is_dir():
            save_controlnet(save_tiny(family, folder), controlnet)
        return model, controlnet

    return made


@pytest.fixture(scope="module")
def images(folder: Path) -> list[Path]:
    """Two control images, larger than the generated ones and of their shape."""
    for name, image in (("slope", Image.linear_gradient("L")), ("ring", Image.radial_gradient("L"))):
        image.resize((128, 192)).save(folder / f"{name}.png")
    return [folder / "slope.png", folder / "ring.png"]


def spec_with(model: Path, controlnet: Any) -> ModelSpec:
    return resolve("generate", Generate(model=str(model), controlnet=controlnet))


def drawing(number: int, image: Path, prompt: str = "a fox") -> Drawing:
    guide = ("control_image", str(image), sha256(image.read_bytes()).hexdigest())
    size = {"width": 64, "height": 96}
    return Drawing(f"{number:032x}", prompt, seed=3, steps=2, guidance_scale=3.0, guides=(guide,), **size)


@pytest.mark.parametrize("family", WITH_CONTROLNET)
def test_the_control_image_and_the_scale_decide_and_neighbours_do_not(tiny, images, tmp_path, family):
    model, controlnet = tiny(family)
    slope, ring = images
    first, other, again = generated(
        spec_with(model, str(controlnet)),
        tmp_path,
        [drawing(0, slope), drawing(1, ring, "a kite"), drawing(2, slope)],
    )
    (turned,) = generated(spec_with(model, str(controlnet)), tmp_path, [drawing(3, ring)])
    weaker, ended = (
        generated(spec_with(model, {"model": str(controlnet), **less}), tmp_path, [drawing(number, slope)])[0]
        for number, less in enumerate(({"scale": 0.0}, {"end": 0.4}), 4)
    )
    assert (first == again).all()
    assert [name for name in (other, turned, weaker, ended) if (name == first).all()] == []


def test_at_scale_zero_stable_diffusion_generates_as_it_does_alone(tiny, images, tmp_path):
    model, controlnet = tiny(SD)
    (weakest,) = generated(spec_with(model, {"model": str(controlnet), "scale": 0}), tmp_path, [drawing(0, images[0])])
    (alone,) = generated(spec_with(model, None), tmp_path, [drawing(1, images[0])])
    assert np.array_equal(weakest, alone)


def test_a_control_image_of_another_shape_is_cut_and_not_distorted(tiny, images, tmp_path):
    model, controlnet = tiny(SD)
    wide = Image.new("L", (256, 192), 255)
    wide.paste(Image.open(images[1]), (64, 0))
    wide.save(tmp_path / "wide.png")
    spec = spec_with(model, str(controlnet))
    first, second = generated(spec, tmp_path, [drawing(0, images[1]), drawing(1, tmp_path / "wide.png")])
    assert np.array_equal(first, second)


def test_a_models_parts_are_loaded_once_with_and_without_a_controlnet(tiny, monkeypatch):
    monkeypatch.setattr(pipeline_cache, "_resident", {})
    model, controlnet = tiny(SD)
    plain, steered, weaker = (
        resident_pipeline(spec_with(model, section), silent)
        for section in (None, str(controlnet), {"model": str(controlnet), "scale": 0.5})
    )
    assert weaker is steered
    assert [
        name for name in ("unet", "vae", "text_encoder") if plain.components[name] is not steered.components[name]
    ] == []


def test_the_files_and_the_settings_are_in_the_identity_and_the_path_is_not(tiny, tmp_path):
    model, controlnet = tiny(SD)
    moved = shutil.copytree(controlnet, tmp_path / "moved")
    identity = spec_with(model, str(controlnet)).identity
    assert spec_with(model, str(moved)).identity == identity
    for change in ({"scale": 0.5}, {"start": 0.1}, {"end": 0.9}):
        assert spec_with(model, {"model": str(controlnet), **change}).identity != identity
    (moved / "config.json").write_text((moved / "config.json").read_text() + " ")
    assert spec_with(model, str(moved)).identity != identity
    assert "controlnet" not in spec_with(model, None).identity


def test_a_repository_is_known_by_its_commit(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    model, controlnet = tiny(SD)
    repository = tmp_path / "models--studio--edges"
    shutil.copytree(controlnet, repository / "snapshots" / COMMIT / "canny")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    section = Generate(model=str(model), controlnet={"model": "studio/edges", "subfolder": "canny"})
    spec = resolve("generate", section, str(tmp_path))
    assert spec.identity["controlnet"] == {
        **{"repository": "studio/edges", "revision": COMMIT, "subfolder": "canny"},
        **{"scale": 1.0, "start": 0.0, "end": 1.0},
    }
    assert type(resident_pipeline(spec, silent)).__name__ == "StableDiffusionControlNetPipeline"


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda folder: "nowhere/at/all", r"\.model is 'nowhere/at/all', which is neither a folder"),
        (lambda folder: str(folder), r"\.model is .* has no config\.json"),
        (
            lambda folder: config(folder, {"_class_name": "FluxControlNetModel"}),
            "a FluxControlNetModel, but .*generates with",
        ),
        (
            lambda folder: {**config(folder, {"_class_name": "ControlNetModel"}), "mode": 3},
            "mode is 3, but .*has no mode",
        ),
        (lambda folder: {**config(folder, {"_class_name": "ControlNetModel"}), "revision": "v1"}, "has no revisions"),
    ],
    ids=["absent", "empty", "of another kind", "mode", "revision"],
)
def test_anything_but_a_controlnet_for_the_model_is_one_error_that_names_the_field(tiny, tmp_path, write, words):
    with pytest.raises(RecipeError, match=rf"^recipe\.generate\.controlnet.*{words}"):
        spec_with(tiny(SD)[0], write(tmp_path))


def config(folder: Path, fields: dict[str, Any]) -> dict[str, Any]:
    (folder / "config.json").write_text(json.dumps(fields))
    return {"model": str(folder)}


def test_a_union_controlnet_wants_its_mode(tiny, tmp_path):
    model, _ = tiny("FluxPipeline")
    union = save_controlnet(model, tmp_path / "union", num_mode=4)
    for mode in (None, 4):
        with pytest.raises(RecipeError, match=rf"controlnet\.mode is {mode}, but .* wants one below 4"):
            spec_with(model, {"model": str(union), "mode": mode})
    assert spec_with(model, {"model": str(union), "mode": 2}).identity["controlnet"]["mode"] == 2


def test_a_model_that_takes_no_controlnet_says_which_do(tmp_path):
    model = save_tiny("ZImagePipeline", tmp_path)
    with pytest.raises(RecipeError, match=r"recipe\.generate\.controlnet is given, but .* takes none\. .*: .*sd-1\.5"):
        spec_with(model, "a/b")


def test_a_controlnet_of_another_model_is_one_error_that_names_both(tiny):
    model, _ = tiny("StableDiffusionXLPipeline")
    _, controlnet = tiny(SD)
    with pytest.raises(RecipeError, match=r"StableDiffusionPipeline-controlnet' does not fit the model 'Stable.*XL"):
        resident_pipeline(spec_with(model, str(controlnet)), silent)


def test_every_familys_pipeline_takes_the_arguments_of_its_calls():
    for name, family in read_catalog().families.items():
        for task, call in family.tasks.items():
            if call.controlnet is None:
                continue
            assert task == "text-to-image", name
            takes = inspect.signature(getattr(diffusers, call.controlnet.pipeline).__call__).parameters
            assert {"controlnet_conditioning_scale", "control_guidance_start", "control_guidance_end"} <= set(takes)
            assert {"control_image", "image"} & set(takes)
            assert hasattr(diffusers, call.controlnet.part)
