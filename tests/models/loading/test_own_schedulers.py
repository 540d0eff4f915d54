"""A model whose own scheduler adds noise that no row's seed decides is refused, with the line that helps."""

from __future__ import annotations

import inspect
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from imagemill.data.config.schedulers import SchedulerName
from imagemill.data.config.steps import Generate
from imagemill.data.errors import RecipeError
from imagemill.data.records import Drawing
from imagemill.models.catalog.entries import read_catalog
from imagemill.models.catalog.resolve import resolve
from imagemill.models.catalog.schedulers import NOISE_IN_STEPS, SEEDED_FAMILIES, UNSEEDED
from imagemill.models.loading import pipeline_cache
from imagemill.models.loading.schedulers import _CLASSES
from tests.models.jobs import generated
from tests.models.tiny import save_tiny


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("tiny")
    return lambda family: folder / family if (folder / family).is_dir() else save_tiny(family, folder)


def with_scheduler(model: Path, folder: Path, kind: str, **settings: Any) -> Path:
    """A copy of a model with another scheduler as its own."""
    shutil.copytree(model, folder)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "scheduler": ["diffusers", kind]}))
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "_class_name": kind, **settings}))
    return folder


def image(model: Path, staging: Path, number: int, scheduler: SchedulerName | None = None) -> bytes:
    """One image of two steps, by a pipeline that is loaded anew."""
    pipeline_cache._resident.clear()
    spec = resolve("generate", Generate(model=str(model), scheduler=scheduler))
    row = Drawing(f"{number:032x}", "a fox", 3, 2, guidance_scale=2.0, width=64, height=64)
    return generated(spec, staging, [row])[0].tobytes()


@pytest.mark.parametrize(
    ("family", "kind", "settings", "remedy"),
    [
        ("FluxPipeline", "FlowMatchLCMScheduler", {}, "flow-match euler"),
        ("HiDreamImagePipeline", "FlowMatchLCMScheduler", {}, "flow-match euler"),
        (
            "StableDiffusion3Pipeline",
            "FlowMatchEulerDiscreteScheduler",
            {"stochastic_sampling": True},
            "flow-match euler",
        ),
        ("FluxPipeline", "DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}, "flow-match euler"),
        ("StableDiffusionPipeline", "DPMSolverSDEScheduler", {}, "euler"),
    ],
)
def test_a_model_whose_own_scheduler_has_unseeded_noise_is_refused_with_the_line_that_helps(
    tiny: Callable, tmp_path: Path, family: str, kind: str, settings: dict[str, Any], remedy: str
):
    model = with_scheduler(tiny(family), tmp_path / "model", kind, **settings)
    with pytest.raises(RecipeError, match=rf"'{kind}', adds noise .* Set recipe\.generate\.scheduler: {remedy}\.$"):
        resolve("generate", Generate(model=str(model)))
    resolve("generate", Generate(model=str(model), scheduler=remedy))


@pytest.mark.parametrize(
    ("family", "kind", "settings"),
    [
        ("FluxPipeline", "FlowMatchLCMScheduler", {}),
        ("StableDiffusion3Pipeline", "FlowMatchEulerDiscreteScheduler", {"stochastic_sampling": True}),
    ],
)
def test_with_that_line_it_generates_the_same_image_again(
    tiny: Callable, tmp_path: Path, family: str, kind: str, settings: dict[str, Any]
):
    model = with_scheduler(tiny(family), tmp_path / "model", kind, **settings)
    first, again = (image(model, tmp_path / "staged", number, "flow-match euler") for number in (1, 2))
    assert first == again


@pytest.mark.parametrize("kind", ["LCMScheduler", "EulerAncestralDiscreteScheduler"])
def test_noise_of_a_pipeline_that_passes_the_rows_seed_is_the_same_again(tiny: Callable, tmp_path: Path, kind: str):
    model = with_scheduler(tiny("StableDiffusionPipeline"), tmp_path / "model", kind)
    assert image(model, tmp_path / "staged", 1) == image(model, tmp_path / "staged", 2)


def test_every_scheduler_of_diffusers_that_adds_noise_is_known():
    kinds = {name: getattr(diffusers, name) for name in dir(diffusers) if name.endswith("Scheduler")}
    # Those that need a package which is not installed are no classes of diffusers' schedulers.
    there = {name: kind for name, kind in kinds.items() if issubclass(kind, diffusers.SchedulerMixin)}
    unknown = [name for name in there if name not in (*NOISE_IN_STEPS, *UNSEEDED) and adds_noise(there[name])]
    assert unknown == []
    known = {name for name in NOISE_IN_STEPS if adds_noise(getattr(diffusers, name))}
    assert {"FlowMatchLCMScheduler", "LCMScheduler", "EulerAncestralDiscreteScheduler"} <= known


def adds_noise(kind: Any) -> bool:
    """Whether steps without a generator draw from torch's own. Not of an image's latents: False."""
    before = torch.get_rng_state()
    try:
        scheduler = kind()
        scheduler.set_timesteps(num_inference_steps=4)
        latents = torch.zeros(1, 4, 8, 8)
        for time in scheduler.timesteps[:3]:
            latents = scheduler.step(torch.zeros_like(latents), time, latents, return_dict=False)[0]
    except (AttributeError, IndexError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return False
    return not torch.equal(before, torch.get_rng_state())


def test_which_pipelines_pass_the_rows_generators_to_each_step_is_known():
    for name, family in read_catalog().families.items():
        pipelines = [call.pipeline for call in family.tasks.values()]
        pipelines += [call.controlnet.pipeline for call in family.tasks.values() if call.controlnet]
        for pipeline in pipelines:
            call = inspect.getsource(getattr(diffusers, pipeline).__call__)
            step = call.partition("scheduler.step(")[2].partition(")")[0]
            assert ("extra_step_kwargs" in step) == (name in SEEDED_FAMILIES), pipeline


def test_only_these_generate_with_a_named_scheduler_that_adds_noise():
    noisy = {
        name
        for name, (kind, settings) in _CLASSES.items()
        if kind in NOISE_IN_STEPS or str(settings.get("algorithm_type")).startswith("sde-")
    }
    assert noisy == {"euler a", "dpm2 a", "dpm++ 2m sde", "dpm++ 2m sde karras", "ddpm", "lcm", "tcd"}
    for name, family in read_catalog().families.items():
        named = {*family.schedulers, *(n for call in family.tasks.values() for n in call.schedulers or ())}
        assert name in SEEDED_FAMILIES or not named & noisy
