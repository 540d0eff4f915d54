"""A preset of the models file brings steps, guidance and scheduler together; what is given beside it counts more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from imagemill.data.config.steps import Generate
from imagemill.data.errors import RecipeError
from imagemill.data.records import Drawing
from imagemill.models.catalog.families.presets import PRESETS
from imagemill.models.catalog.resolve import resolve
from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.loading import pipeline_cache
from imagemill.models.loading.pipeline_cache import resident_pipeline
from tests.models.jobs import generated, silent
from tests.models.tiny import save_tiny

SDXL = "StableDiffusionXLPipeline"


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_cache, "_resident", {})


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(SDXL, tmp_path_factory.mktemp("tiny"))


def spec_of(folder: Path, entry: dict[str, Any], family: str = SDXL, **section: Any) -> ModelSpec:
    """The spec of an entry of a models file for the model in ``folder``."""
    file = folder.parent / "models.yaml"
    file.write_text(yaml.safe_dump({"models": {"quick": {"family": family, "folder": str(folder), **entry}}}))
    return resolve("generate", Generate(model="quick", dtype="float32", **section), models_file=str(file))


def settings(spec: ModelSpec) -> tuple[Any, ...]:
    return spec.defaults.steps, spec.defaults.guidance_scale, spec.scheduler


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_brings_all_three_and_generates(name: str, sdxl: Path, tmp_path: Path):
    preset = PRESETS[name]
    spec = spec_of(sdxl, {"preset": name.upper()})
    assert settings(spec) == (preset.steps, preset.guidance_scale, preset.scheduler)
    drawing = Drawing(f"{0:032x}", "a fox", seed=1, steps=spec.defaults.steps, width=64, height=64)
    assert len(generated(spec, tmp_path / "staged", [drawing])) == 1


@pytest.mark.parametrize(("name", "kind"), [("lightning-4", "EulerDiscreteScheduler"), ("hyper-8", "DDIMScheduler")])
def test_a_preset_takes_its_steps_from_the_end_as_the_models_were_trained(name: str, kind: str, sdxl: Path):
    scheduler = resident_pipeline(spec_of(sdxl, {"preset": name}), silent).scheduler
    scheduler.set_timesteps(4)
    assert type(scheduler).__name__ == kind
    assert [round(float(step)) for step in scheduler.timesteps] == [999, 749, 499, 249]


def test_what_the_entry_and_the_recipe_have_counts_more_than_the_preset(sdxl: Path):
    entry = {"preset": "lightning-4", "steps": 6}
    assert settings(spec_of(sdxl, entry)) == (6, 0, "euler trailing")
    assert settings(spec_of(sdxl, entry, scheduler="lcm")) == (6, 0, "lcm")
    own = {"steps": 3, "guidance_scale": 1.5, "scheduler": "TCD"}
    assert settings(spec_of(sdxl, {"preset": own})) == (3, 1.5, "tcd")


def test_an_entry_without_a_preset_is_the_model_that_it_was(sdxl: Path):
    plain = resolve("generate", Generate(model=str(sdxl), dtype="float32"))
    assert spec_of(sdxl, {}).identity == plain.identity
    assert spec_of(sdxl, {"preset": "turbo"}).identity == plain.identity
    assert spec_of(sdxl, {"preset": "lcm"}).identity == {**plain.identity, "scheduler": "lcm"}


@pytest.mark.parametrize(
    ("family", "preset", "words"),
    [
        (SDXL, "fast", r"models\.quick\.preset.*'fast' is no preset; these are: lightning-2"),
        (SDXL, {"steps": 4}, r"models\.quick\.preset\.guidance_scale.*Field required"),
        (
            "FluxPipeline",
            "lightning-4",
            r"models\.quick\.preset in .* 'euler trailing'; a FluxPipeline can",
        ),
        ("SanaSprintPipeline", "lcm", r"models\.quick\.preset in .*its own alone"),
    ],
)
def test_a_preset_that_does_not_fit_is_one_error_that_names_it(family: str, preset: Any, words: str, sdxl: Path):
    with pytest.raises(RecipeError, match=words):
        spec_of(sdxl, {"preset": preset}, family)
