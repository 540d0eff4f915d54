"""Speed settings: applied to a pipeline, part of its model's identity where they change pixels, or refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from diffusers import FluxPipeline

from imagemill.data.config.speed import Speed
from imagemill.data.config.steps import Edit, Generate
from imagemill.data.errors import RecipeError
from imagemill.data.records import Drawing
from imagemill.data.staging.store import Staging
from imagemill.models.catalog.capabilities import check_settings
from imagemill.models.catalog.resolve import resolve
from imagemill.models.drawing.draw import draw
from imagemill.models.job import Job
from imagemill.models.loading import pipeline_cache
from imagemill.models.loading.acceleration import cache_steps, speed_up
from tests.models.jobs import PNG, silent


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pipeline_cache, "_resident", {})


def spec_of(model: Path, **speed: Any):
    return resolve("generate", Generate(model=str(model), speed=Speed(**speed)))


def images(model: Path, folder: Path, steps: int = 6, **speed: Any) -> list[bytes]:
    drawings = tuple(Drawing(str(n) * 32, "a fox", n, steps, width=64, height=64) for n in range(2))
    spec = spec_of(model, **speed)
    spec = replace(spec, call=replace(spec.call, max_sequence_length=16))
    folder.mkdir(exist_ok=True)
    job = Job(spec, drawings, {drawing.key: (PNG,) for drawing in drawings}, 2, frozenset(), str(folder))
    assert not draw(job, silent).failed
    return [Staging(folder).read(drawing.key, PNG.name)[0] for drawing in drawings]


@pytest.mark.parametrize("cache", ["taylorseer", "magcache"])
def test_a_step_cache_changes_the_images_in_the_same_way_in_every_call(cache: str, model: Path, tmp_path: Path):
    plain = images(model, tmp_path / "plain")
    first = images(model, tmp_path / "first", step_cache=cache)
    images(model, tmp_path / "others", steps=4, step_cache=cache)
    again = images(model, tmp_path / "again", step_cache=cache)
    assert first == again
    assert first != plain
    assert images(model, tmp_path / "plain again") == plain


def test_fused_and_reordered_weights_generate_the_same_scene(model: Path, tmp_path: Path):
    assert len(images(model, tmp_path, steps=1, fuse_qkv=True, channels_last=True, attention="native")) == 2


@pytest.mark.slow
def test_compiled_blocks_are_cached_between_runs(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    pipeline = FluxPipeline.from_pretrained(model)
    # One block is compiled as six are, in a sixth of the time.
    pipeline.transformer.transformer_blocks = pipeline.transformer.transformer_blocks[:1]
    pipeline.transformer.single_transformer_blocks = pipeline.transformer.single_transformer_blocks[:0]
    speed_up(pipeline, Speed(compile=True), "small")
    pipeline("a fox", width=64, height=64, num_inference_steps=1, max_sequence_length=16)
    assert list((tmp_path / "imagemill" / "compiled").rglob("*.so"))


def test_only_settings_that_change_pixels_are_in_the_models_identity(model: Path):
    plain = spec_of(model).identity
    assert spec_of(model, remember_texts=False, remember_sources=False).identity == plain
    for setting in ({"compile": True}, {"attention": "flash"}, {"step_cache": "taylorseer"}, {"fuse_qkv": True}):
        assert spec_of(model, **setting).identity == {**plain, "speed": setting}


def test_a_step_cache_that_decides_for_a_whole_batch_needs_batches_of_one(model: Path):
    spec = spec_of(model, step_cache="first_block")
    with pytest.raises(RecipeError, match="batch_size to 1"):
        check_settings("generate", Generate(speed=Speed(step_cache="first_block"), batch_size=2), spec)
    check_settings("edit", Edit(speed=Speed(step_cache="first_block"), batch_size=1), spec)


def test_an_attention_backend_that_is_not_installed_is_one_clear_error(model: Path, tmp_path: Path):
    with pytest.raises(RecipeError, match=r"cannot generate with speed.attention: flash on this machine: .*flash-attn"):
        images(model, tmp_path, attention="flash")


def test_magcache_is_refused_for_a_model_without_known_ratios():
    pipeline = SimpleNamespace(unet=SimpleNamespace())
    with pytest.raises(RecipeError, match="taylorseer"):
        cache_steps(pipeline, Speed(step_cache="magcache"), "sd-1.5", 4)
