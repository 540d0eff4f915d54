"""A model's own files decide how many steps it has, and whether it reads a negative prompt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from imagemill.data.config.steps import Edit, Generate
from imagemill.data.config.template import Sweep
from imagemill.data.errors import RecipeError
from imagemill.data.records import Drawing
from imagemill.models.catalog.capabilities import check_settings, check_sweep
from imagemill.models.catalog.resolve import resolve
from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.loading import pipeline_cache
from tests.models.catalog.folders import COMMIT
from tests.models.jobs import generated
from tests.models.tiny import save_tiny
from tests.models.tiny.hunyuan import hunyuan_image

LCM, SD = "LatentConsistencyModelPipeline", "StableDiffusionPipeline"


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_cache, "_resident", {})


def spec_of(model: Path | str, strength: float | None = None, **settings: Any) -> ModelSpec:
    if strength is None:
        return resolve("generate", Generate(model=str(model), **settings))
    return resolve("edit", Edit(model=str(model), task="image-to-image", strength=strength, **settings))


@pytest.mark.parametrize("is_distilled", [True, False])
def test_only_a_hunyuan_image_with_guiders_reads_a_negative_prompt(tmp_path: Path, is_distilled: bool):
    hunyuan_image(is_distilled).save_pretrained(tmp_path / "hunyuan", safe_serialization=True)
    spec = spec_of(tmp_path / "hunyuan", dtype="float32")
    row = {"seed": 3, "steps": 2, "width": 64, "height": 64}
    prompts = [Drawing(f"{n:032x}", "a fox", **row, negative_prompt=text) for n, text in enumerate(("", "a castle"))]
    images = generated(spec, tmp_path / "staged", prompts)
    assert (images[0] == images[1]).all() == is_distilled
    section = Generate(model=str(tmp_path / "hunyuan"), negative_prompt="a castle")
    if not is_distilled:
        check_settings("generate", section, spec)
        return
    with pytest.raises(RecipeError, match="negative_prompt is 'a castle', but the model 'hunyuan' makes no use of neg"):
        check_settings("generate", section, spec)


@pytest.mark.parametrize(
    ("model", "settings", "most"),
    [
        (LCM, {}, 50),
        (LCM, {"strength": 0.5}, 25),
        (LCM, {"strength": 0.3, "original": 40}, 12),
        # Another pipeline leaves the strength out of its scheduler's steps.
        (SD, {"scheduler": "lcm", "strength": 0.5}, 50),
        (SD, {"scheduler": "tcd"}, 50),
        (SD, {"scheduler": "euler"}, None),
        (SD, {}, None),
    ],
)
def test_a_consistency_schedulers_steps_end_where_diffusers_refuses_more(
    tmp_path: Path, model: str, settings: dict[str, Any], most: int | None
):
    folder, original = save_tiny(model, tmp_path), settings.pop("original", None)
    if original:
        path = folder / "scheduler" / "scheduler_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "original_inference_steps": original}))
    spec = spec_of(folder, **settings)
    assert (spec.limits.max_steps, spec.facts().max_steps) == (most, most)
    if most is None:
        return
    pipeline, strength = pipeline_cache.resident_pipeline(spec, lambda event: None), settings.get("strength")
    more = {"strength": strength} if model == LCM and strength else {}
    pipeline.scheduler.set_timesteps(most, **more)
    with pytest.raises(ValueError, match="num_inference_steps"):
        pipeline.scheduler.set_timesteps(most + 1, **more)


def test_more_steps_than_a_latent_consistency_model_has_are_refused(tmp_path: Path):
    folder = save_tiny(LCM, tmp_path)
    section = Generate(model=str(folder), steps=51)
    with pytest.raises(RecipeError, match=rf"generate\.steps is 51, but the model '{LCM}' has at most 50, which its"):
        check_settings("generate", section, spec_of(folder))
    check_settings("generate", section.model_copy(update={"steps": 50}), spec_of(folder))
    edit = Edit(model=str(folder), task="image-to-image", strength=0.5, steps=26)
    with pytest.raises(
        RecipeError, match=r"edit\.steps is 26, .* at most 25 with a strength of 0\.5, .* more strength"
    ):
        check_settings("edit", edit, spec_of(folder, strength=0.5))
    # Its own four are more than two percent of fifty.
    weak = Edit(model=str(folder), task="image-to-image", strength=0.02)
    with pytest.raises(RecipeError, match=r"edit\.steps is 4, .* at most 1 with"):
        check_settings("edit", weak, spec_of(folder, strength=0.02))
    with pytest.raises(RecipeError, match=r"sweep\.steps has 60: .* has at most 50, which"):
        check_sweep(Sweep(steps=[4, 60]), spec_of(folder))


def test_a_repository_of_the_catalog_has_the_usual_steps():
    spec = spec_of("lcm-dreamshaper-v7", revision=COMMIT)
    assert spec.limits.max_steps == 50
    assert spec_of("sdxl", revision=COMMIT, scheduler="tcd").limits.max_steps == 50
