"""One bad row costs one row, a model at fault stops the build at once, and one set of weights is loaded once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPConfig, CLIPImageProcessor

from imagemill.data.config.steps import Edit
from imagemill.data.errors import BuildFailed
from imagemill.data.records import Drawing
from imagemill.data.staging.store import Staging
from imagemill.models.catalog.resolve import resolve
from imagemill.models.catalog.source import ModelSource
from imagemill.models.drawing.draw import draw
from tests.models.jobs import PNG, loaded_as, make_job, silent
from tests.models.tiny.stable_diffusion import sd


@pytest.mark.parametrize("place", range(4))
def test_a_batch_that_fails_is_halved_until_the_row_at_fault_stands_alone(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int
):
    monkeypatch.setenv("IMAGEMILL_PIPELINE", "tests.models.faulty:poisoned")
    prompts = ["a fox", "a kite", "a ring", "a star", "a cat"]
    prompts[place] = "a poison"
    report = draw(loaded_as(make_job(model, tmp_path, prompts), "poisoned"), silent)
    assert report.generated == 4
    assert {key: failure.reason for key, failure in report.failed.items()} == {
        f"{place:032x}": "ValueError: bad prompt"
    }
    assert report.failed[f"{place:032x}"].attempts == 3
    assert len(Staging(tmp_path).names()) == 4


def test_a_shard_of_bad_rows_only_is_set_aside_and_does_not_stop_the_build(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("IMAGEMILL_PIPELINE", "tests.models.faulty:poisoned")
    report = draw(loaded_as(make_job(model, tmp_path, ["poison one", "poison two"]), "poisoned"), silent)
    assert (report.generated, len(report.failed)) == (0, 2)


def test_a_model_that_fails_on_everything_stops_at_once_with_one_message(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("IMAGEMILL_PIPELINE", "tests.models.faulty:broken")
    job = make_job(model, tmp_path, [f"number {number}" for number in range(64)])
    events: list[dict[str, Any]] = []
    with pytest.raises(BuildFailed, match=r"fails on every image of 64 x 64 pixels and 1 steps.*no such kernel"):
        draw(loaded_as(job, "broken"), events.append)
    assert [event["kind"] for event in events] == ["loaded", "generated"]


def test_generator_and_editor_of_one_set_of_weights_are_loaded_once(model: Path, tmp_path: Path):
    first = draw(make_job(model, tmp_path, ["a fox"]), silent)
    editor = resolve("edit", Edit(model=str(model)))
    edit = Drawing(f"{9:032x}", "make it red", seed=9, steps=1, source=f"{0:032x}")
    job = make_job(model, tmp_path, [], spec=editor, drawings=(edit,), encodings={edit.key: (PNG,)})
    second = draw(job, silent)
    assert (first.generated, second.generated) == (1, 1)
    # Tests before this one may have loaded it.
    assert (len(first.loads) <= 1, second.loads) == (True, ())


def test_staged_images_are_not_generated_again_and_no_model_is_loaded_for_them(model: Path, tmp_path: Path):
    job = make_job(model, tmp_path, ["a fox", "a kite"])
    draw(job, silent)
    absent = replace(job.spec, source=ModelSource("/nowhere", files="not loaded"))
    report = draw(replace(job, spec=absent), silent)
    assert (report.generated, report.reused, report.loads) == (0, 2, ())


def test_a_models_safety_checker_paints_no_image_black(tmp_path: Path):
    pipeline = sd()
    tower = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {**tower, "image_size": 32, "patch_size": 16}
    checker = StableDiffusionSafetyChecker(CLIPConfig(text_config=tower, vision_config=vision, projection_dim=8))
    # Finds something in every image.
    checker.concept_embeds_weights.data.fill_(-2)
    extractor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    pipeline.register_modules(safety_checker=checker, feature_extractor=extractor)
    assert pipeline("a fox", width=64, height=64, num_inference_steps=1, output_type="np").images.max() == 0
    pipeline.save_pretrained(tmp_path / "model")
    report = draw(make_job(tmp_path / "model", tmp_path / "staging", ["a fox", "a kite"]), silent)
    assert (report.generated, report.failed) == (2, {})
