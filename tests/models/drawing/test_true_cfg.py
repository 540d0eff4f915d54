"""True classifier-free guidance on FLUX.1 and Kontext: negative prompts count with a true_cfg_scale, and never without.

FLUX.2 klein base, which has guidance without a negative prompt, is tested beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from imagemill.data.config.speed import Speed
from imagemill.data.config.steps import Edit, Generate
from imagemill.data.config.template import Sweep
from imagemill.data.errors import RecipeError
from imagemill.models.catalog.capabilities import check_settings, check_sweep
from imagemill.models.catalog.resolve import resolve
from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.loading import pipeline_cache
from tests.models.catalog.folders import COMMIT
from tests.models.controlnets import save_controlnet
from tests.models.drawing.test_neighbours import HEIGHT, LONG, WIDTH, changed, latents_of, row
from tests.models.tiny import MAKERS, save_tiny

CASES = [
    ("FluxPipeline", "text-to-image"),
    ("FluxPipeline", "image-to-image"),
    ("FluxPipeline", "inpaint"),
    ("FluxKontextPipeline", "instruction"),
    ("FluxKontextPipeline", "inpaint"),
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("tiny")
    return lambda family: folder / family if (folder / family).is_dir() else save_tiny(family, folder)


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_cache, "_resident", {})


def spec_of(model: Path | str, task: str, **settings: Any) -> ModelSpec:
    if task == "text-to-image":
        return resolve("generate", Generate(model=str(model), **settings))
    return resolve("edit", Edit(model=str(model), task=task, **settings))


@pytest.mark.slow
@pytest.mark.parametrize(("family", "task"), CASES)
def test_a_row_is_guided_away_from_its_own_negative_prompt_alone(tiny: Callable, family: str, task: str):
    spec = spec_of(tiny(family), task, dtype="float32", true_cfg_scale=3)
    assert spec.limits.negative_prompt
    fox, cat = row(task, negative_prompt="blurry"), row(task, prompt="a cat", seed=4, negative_prompt="red")
    plain = latents_of(spec, [fox, cat])[0]
    changes = ({"negative_prompt": "a castle"}, {"prompt": "a castle"}, {"seed": 9})
    for change in changes:
        other = latents_of(spec, [changed(fox, **change), cat])[0]
        assert (other - plain).abs().max() / plain.std() > 0.02, change
    for neighbour in (changed(cat, prompt=LONG), changed(cat, negative_prompt=LONG)):
        assert torch.equal(latents_of(spec, [fox, neighbour])[0], plain)
        assert torch.equal(latents_of(spec, [neighbour, fox])[1], plain)
    stronger = latents_of(spec_of(tiny(family), task, dtype="float32", true_cfg_scale=6), [fox, cat])[0]
    assert not torch.equal(stronger, plain)


@pytest.mark.slow
def test_with_a_controlnet_too_and_the_control_image_counts(tiny: Callable, tmp_path: Path):
    controlnet = str(save_controlnet(tiny("FluxPipeline"), tmp_path / "controlnet"))
    spec = spec_of(tiny("FluxPipeline"), "text-to-image", dtype="float32", true_cfg_scale=3, controlnet=controlnet)
    assert (spec.pipeline, spec.limits.negative_prompt) == ("FluxControlNetPipeline", True)
    slope = Image.linear_gradient("L").resize((WIDTH, HEIGHT)).convert("RGB")
    fox, cat = (
        replace(it, guides={"control_image": slope})
        for it in (row("text-to-image", negative_prompt="blurry"), row("text-to-image", prompt="a cat", seed=4))
    )
    plain = latents_of(spec, [fox, cat])[0]
    for change in ({"negative_prompt": "a castle"}, {"prompt": "a castle"}, {"seed": 9}):
        other = latents_of(spec, [changed(fox, **change), cat])[0]
        assert (other - plain).abs().max() / plain.std() > 0.02, change
    turned = replace(fox, guides={"control_image": slope.transpose(Image.Transpose.FLIP_TOP_BOTTOM)})
    assert not torch.equal(latents_of(spec, [turned, cat])[0], plain)
    for neighbour in (changed(cat, prompt=LONG), changed(cat, negative_prompt=LONG)):
        assert torch.equal(latents_of(spec, [fox, neighbour])[0], plain)
        assert torch.equal(latents_of(spec, [neighbour, fox])[1], plain)


@pytest.mark.slow
def test_without_a_negative_prompt_a_row_is_guided_away_from_the_empty_one(tiny: Callable):
    spec = spec_of(tiny("FluxPipeline"), "text-to-image", dtype="float32", true_cfg_scale=3)
    none, empty = row("text-to-image"), row("text-to-image", negative_prompt="")
    assert torch.equal(latents_of(spec, [none, none])[0], latents_of(spec, [empty, empty])[0])
    plain = spec_of(tiny("FluxPipeline"), "text-to-image", dtype="float32")
    assert not torch.equal(latents_of(spec, [none, none])[0], latents_of(plain, [none, none])[0])


@pytest.mark.parametrize("model", ["flux.1-dev", "flux.1-schnell", "bundled"])
def test_only_a_true_cfg_scale_changes_a_models_identity(model: str):
    revision = {} if model == "bundled" else {"revision": COMMIT}
    plain = spec_of(model, "text-to-image", **revision)
    guided = spec_of(model, "text-to-image", **revision, true_cfg_scale=2)
    assert guided.identity == {**plain.identity, "call": {"true_cfg_scale": 2}}
    assert "call" not in plain.identity
    assert guided.weights_key == plain.weights_key
    assert (plain.facts().negative_prompt, guided.facts().negative_prompt) == (False, True)
    assert plain.call.empty_negative is None


def test_a_negative_prompt_without_a_scale_is_refused_with_what_it_needs():
    section = Generate(model="flux.1-dev", revision=COMMIT, negative_prompt="blur")
    words = r"leave it out, or give recipe\.generate\.true_cfg_scale too, such as 2\."
    with pytest.raises(RecipeError, match=words):
        check_settings("generate", section, resolve("generate", section))
    with pytest.raises(RecipeError, match=words):
        check_sweep(Sweep(negative_prompt=["blur"]), resolve("generate", section))
    section = section.model_copy(update={"true_cfg_scale": 2})
    check_settings("generate", section, resolve("generate", section))


@pytest.mark.parametrize(
    ("model", "task", "words"),
    [
        ("flux.1-fill-dev", "inpaint", "takes none: leave it out.$"),
        ("flux.2-dev", "text-to-image", "takes none: leave it out.$"),
        ("qwen-image", "text-to-image", "Its guidance_scale is one.$"),
    ],
)
def test_a_scale_is_refused_where_the_pipeline_takes_none(model: str, task: str, words: str):
    with pytest.raises(RecipeError, match=rf"true_cfg_scale is 2, but '{model}' {'' if 'Its' not in words else '.*'}"):
        spec_of(model, task, revision=COMMIT, true_cfg_scale=2)
    with pytest.raises(RecipeError, match=words):
        spec_of(model, task, revision=COMMIT, true_cfg_scale=2)


def test_a_step_cache_is_refused_where_it_would_mix_up_both_passes():
    cached = {"revision": COMMIT, "true_cfg_scale": 2, "speed": Speed(step_cache="taylorseer")}
    spec_of("flux.1-dev", "text-to-image", **cached)
    with pytest.raises(RecipeError, match=r"step_cache is 'taylorseer', which would mix up .* of FluxKontextPipeline:"):
        spec_of("flux.1-kontext-dev", "instruction", **cached)


def test_a_step_cache_is_refused_beside_a_controlnet_whose_pipeline_keeps_no_passes_apart(tmp_path: Path):
    (tmp_path / "config.json").write_text('{"_class_name": "FluxControlNetModel"}')
    with pytest.raises(RecipeError, match=r"would mix up the two passes .* of a step of FluxControlNetPipeline: leave"):
        spec_of(
            "flux.1-dev",
            "text-to-image",
            revision=COMMIT,
            true_cfg_scale=2,
            speed=Speed(step_cache="taylorseer"),
            controlnet=str(tmp_path),
        )


@pytest.mark.slow
def test_guidance_counts_for_klein_base_and_neighbours_do_not(tmp_path: Path):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipeline = MAKERS["Flux2KleinPipeline"]()
        pipeline.register_to_config(is_distilled=False)
        pipeline.save_pretrained(tmp_path / "base", safe_serialization=True)
    spec = spec_of(tmp_path / "base", "text-to-image", dtype="float32")
    assert spec.limits.uses_guidance
    fox, cat = row("text-to-image"), row("text-to-image", prompt="a cat", seed=4)
    plain = latents_of(spec, [fox, cat])[0]
    for change in ({"guidance_scale": 6.0}, {"prompt": "a castle"}, {"seed": 9}):
        assert not torch.equal(latents_of(spec, [changed(row, **change) for row in (fox, cat)])[0], plain), change
    assert torch.equal(latents_of(spec, [fox, changed(cat, prompt=LONG)])[0], plain)
    assert torch.equal(latents_of(spec, [replace(cat), fox])[1], plain)


@pytest.mark.parametrize("model", ["flux.2-klein-base-4b", "FLUX.2-klein-base-9B"])
def test_klein_base_has_guidance_and_fifty_steps(model: str):
    spec = spec_of(model.lower(), "text-to-image", revision=COMMIT)
    assert (spec.defaults.steps, spec.defaults.guidance_scale, spec.limits.uses_guidance) == (50, 4.0, True)
