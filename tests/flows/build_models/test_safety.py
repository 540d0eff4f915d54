"""A model's own safety checker notes what it finds, or sets the row aside; it changes no picture and redraws none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessor

from imagemill.data.images.codec import decode_picture
from imagemill.data.staging.store import Staging
from imagemill.models.drawing.draw import draw
from imagemill.tasks.task_options import StepCache
from tests.commands import Report
from tests.conftest import Build, small_fields
from tests.flows.build.test_build_dataset import rows_of
from tests.models.drawing.test_draw import job
from tests.models.tiny import save_tiny

TOWER = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
VISION = {**TOWER, "image_size": 32, "patch_size": 16}


def checker_of(pictures: list[Image.Image]) -> tuple[StableDiffusionSafetyChecker, CLIPImageProcessor]:
    """A small random checker which of these pictures finds something in the first alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        checker = StableDiffusionSafetyChecker(CLIPConfig(text_config=TOWER, vision_config=VISION, projection_dim=8))
    extractor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    seen = extractor(pictures, return_tensors="pt").pixel_values
    with torch.no_grad():
        embeds = torch.nn.functional.normalize(checker.visual_projection(checker.vision_model(seen)[1]))
        concept = embeds[0] - embeds[1:].mean(0)
        scores = torch.nn.functional.cosine_similarity(embeds, concept[None])
        # No cosine is over 2.
        checker.concept_embeds_weights.fill_(2)
        checker.special_care_embeds_weights.fill_(2)
        checker.concept_embeds[0] = concept
        checker.concept_embeds_weights[0] = (scores[0] + scores[1:].max()) / 2
    return checker, extractor


def pictures_of(output: str) -> dict[str, bytes]:
    return {row["prompt"]: row["image"]["bytes"] for row in rows_of(Path(output))}


@pytest.fixture(scope="module")
def drawn(build: Build, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The fields of a recipe that has drawn its pictures unchecked, by a model that finds something in the first."""
    folder = tmp_path_factory.mktemp("checked")
    fields = small_fields(folder, save_tiny("StableDiffusionPipeline", folder))
    del fields["edit"]
    build(fields, {"output": str(folder / "plain")})
    plain = pictures_of(str(folder / "plain"))
    checker, extractor = checker_of([decode_picture(content, prompt) for prompt, content in plain.items()])
    model = Path(fields["generate"]["model"])
    checker.save_pretrained(model / "safety_checker")
    extractor.save_pretrained(model / "feature_extractor")
    index = json.loads((model / "model_index.json").read_text())
    index |= {
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
        "feature_extractor": ["transformers", "CLIPImageProcessor"],
    }
    (model / "model_index.json").write_text(json.dumps(index))
    fields["max_set_aside"] = 1.0
    assert build(fields)["drawn"] == 4
    assert pictures_of(fields["output"]) == plain
    return fields


def test_what_was_drawn_unchecked_is_checked_and_not_drawn_again(build: Build, drawn: dict, report: Report):
    output, before = Path(drawn["output"]), pictures_of(drawn["output"])
    assert "unsafe" not in pq.read_schema(next((output / "data").iterdir())).names

    assert build(drawn, {"generate.safety": "flag"})["drawn"] == 0
    assert [(row["prompt"], row["unsafe"]) for row in rows_of(output)] == [
        ("a fox", True),
        ("a kite", False),
        ("a ring", False),
        ("a star", False),
    ]
    assert pictures_of(drawn["output"]) == before
    assert report("verify", drawn["output"])[0] == 0

    figures = build(drawn, {"generate.safety": "set_aside"})
    assert (figures["drawn"], figures["rows"], figures["set_aside"]) == (0, 3, 1)
    assert pictures_of(drawn["output"]) == {prompt: one for prompt, one in before.items() if prompt != "a fox"}
    (aside,) = map(json.loads, (output / "set_aside.jsonl").read_text().splitlines())
    assert aside["line"] == 1
    assert "the model's safety checker has found something in the picture" in aside["reason"]
    again = build(drawn, {"generate.safety": "set_aside"})
    assert (again["planned"], again["set_aside"]) == (0, 1)


def test_a_new_picture_is_checked_as_it_is_drawn_and_kept_as_it_is(build: Build, drawn: dict, tmp_path: Path):
    flagged = {"generate.safety": "flag", "output": str(tmp_path / "flagged")}
    assert build(drawn, flagged)["drawn"] == 4
    assert [row["unsafe"] for row in rows_of(tmp_path / "flagged")] == [True, False, False, False]
    assert (
        pictures_of(str(tmp_path / "flagged"))["a fox"] == pictures_of(f"{Path(drawn['output']).parent}/plain")["a fox"]
    )


def test_a_picture_that_is_set_aside_is_not_edited(build: Build, drawn: dict, model: Path, tmp_path: Path):
    edit = {"model": str(model), "steps": 1, "batch_size": 2, "instructions": ["make it red"]}
    chain = {**drawn, "edit": edit, "output": str(tmp_path / "out")}
    figures = build(chain, {"generate.safety": "set_aside"})
    assert (figures["drawn"], figures["rows"], figures["set_aside"]) == (6, 3, 1)
    # What was set aside counts for the setting that set it aside.
    assert build(chain, {"generate.safety": "flag"})["drawn"] == 2
    unsafe = {row["prompt"]: row["unsafe"] for row in rows_of(tmp_path / "out")}
    assert unsafe == {"a fox": True, "a kite": False, "a ring": False, "a star": False}


def test_what_an_interrupted_build_has_staged_unchecked_is_checked(drawn: dict, tmp_path: Path):
    asked = job(Path(drawn["generate"]["model"]), tmp_path, ["a fox", "a kite"])
    checked = replace(asked, safety="flag")
    draw(asked, lambda event: None)
    assert [Staging(tmp_path).find(one.key, "png").unsafe for one in asked.drawings] == [None, None]
    report = draw(checked, lambda event: None)
    # Of the pipeline nothing is loaded for it.
    assert (report.drawn, [load["model"] for load in report.loads]) == (0, [f"{asked.spec.name}'s safety checker"])
    assert None not in [Staging(tmp_path).find(one.key, "png").unsafe for one in asked.drawings]
    # Nor does the step's cached result stand for one that looks.
    context = SimpleNamespace(task=SimpleNamespace(name="generate"))
    assert len({StepCache().compute_key(context, {"job": one}, {}) for one in (asked, checked)}) == 2
