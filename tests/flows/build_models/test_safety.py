"""A model's safety checker flags images or sets their rows aside; it changes and regenerates none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessor

from imagemill.data.images.codec import decode_image
from imagemill.data.staging.store import Staging
from imagemill.models.drawing.draw import draw
from imagemill.tasks.step_cache import step_key
from tests.commands import Report
from tests.conftest import Build, small_fields
from tests.flows.build.test_build_dataset import rows_of
from tests.models.jobs import make_job
from tests.models.tiny import save_tiny

TOWER = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
VISION = {**TOWER, "image_size": 32, "patch_size": 16}


def checker_of(images: list[Image.Image]) -> tuple[StableDiffusionSafetyChecker, CLIPImageProcessor]:
    """A small random checker that flags only the first of these images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        checker = StableDiffusionSafetyChecker(CLIPConfig(text_config=TOWER, vision_config=VISION, projection_dim=8))
    extractor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    seen = extractor(images, return_tensors="pt").pixel_values
    with torch.no_grad():
        embeds = torch.nn.functional.normalize(checker.visual_projection(checker.vision_model(seen)[1]))
        concept = embeds[0] - embeds[1:].mean(0)
        scores = torch.nn.functional.cosine_similarity(embeds, concept[None])
        # No cosine similarity exceeds 2.
        checker.concept_embeds_weights.fill_(2)
        checker.special_care_embeds_weights.fill_(2)
        checker.concept_embeds[0] = concept
        checker.concept_embeds_weights[0] = (scores[0] + scores[1:].max()) / 2
    return checker, extractor


def images_of(output: str) -> dict[str, bytes]:
    return {row["prompt"]: row["image"]["bytes"] for row in rows_of(Path(output))}


def pixels_of(images: dict[str, bytes]) -> dict[str, bytes]:
    return {prompt: decode_image(content, prompt).tobytes() for prompt, content in images.items()}


@pytest.fixture(scope="module")
def generated(build: Build, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The fields of a recipe whose images were generated unchecked; the model's checker would flag the first."""
    folder = tmp_path_factory.mktemp("checked")
    fields = small_fields(folder, save_tiny("StableDiffusionPipeline", folder))
    del fields["edit"]
    build(fields, {"output": str(folder / "plain")})
    plain = images_of(str(folder / "plain"))
    checker, extractor = checker_of([decode_image(content, prompt) for prompt, content in plain.items()])
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
    assert build(fields)["generated"] == 4
    # The metadata names the model's version, of which the checker is a part.
    assert pixels_of(images_of(fields["output"])) == pixels_of(plain)
    return fields


def test_images_generated_unchecked_are_checked_and_not_regenerated(build: Build, generated: dict, report: Report):
    output, before = Path(generated["output"]), images_of(generated["output"])
    assert "unsafe" not in pq.read_schema(next((output / "data").iterdir())).names

    assert build(generated, {"generate.safety": "flag"})["generated"] == 0
    assert [(row["prompt"], row["unsafe"]) for row in rows_of(output)] == [
        ("a fox", True),
        ("a kite", False),
        ("a ring", False),
        ("a star", False),
    ]
    assert images_of(generated["output"]) == before
    assert report("verify", generated["output"])[0] == 0

    figures = build(generated, {"generate.safety": "set_aside"})
    assert (figures["generated"], figures["rows"], figures["set_aside"]) == (0, 3, 1)
    assert images_of(generated["output"]) == {prompt: image for prompt, image in before.items() if prompt != "a fox"}
    (aside,) = map(json.loads, (output / "set_aside.jsonl").read_text().splitlines())
    assert aside["line"] == 1
    assert "the model's safety checker has found something in the image" in aside["reason"]
    again = build(generated, {"generate.safety": "set_aside"})
    assert (again["planned"], again["set_aside"]) == (0, 1)


def test_a_new_image_is_checked_and_not_changed(build: Build, generated: dict, tmp_path: Path):
    flagged = {"generate.safety": "flag", "output": str(tmp_path / "flagged")}
    assert build(generated, flagged)["generated"] == 4
    assert [row["unsafe"] for row in rows_of(tmp_path / "flagged")] == [True, False, False, False]
    flagged_images, plain = images_of(str(tmp_path / "flagged")), images_of(f"{Path(generated['output']).parent}/plain")
    assert pixels_of(flagged_images)["a fox"] == pixels_of(plain)["a fox"]


def test_an_image_that_is_set_aside_is_not_edited(build: Build, generated: dict, model: Path, tmp_path: Path):
    edit = {"model": str(model), "steps": 1, "batch_size": 2, "instructions": ["make it red"]}
    chain = {**generated, "edit": edit, "output": str(tmp_path / "out")}
    figures = build(chain, {"generate.safety": "set_aside"})
    assert (figures["generated"], figures["rows"], figures["set_aside"]) == (6, 3, 1)
    # A row set aside by one setting is generated under another.
    assert build(chain, {"generate.safety": "flag"})["generated"] == 2
    unsafe = {row["prompt"]: row["unsafe"] for row in rows_of(tmp_path / "out")}
    assert unsafe == {"a fox": True, "a kite": False, "a ring": False, "a star": False}


def test_images_staged_unchecked_by_an_interrupted_build_are_checked(generated: dict, tmp_path: Path):
    job = make_job(Path(generated["generate"]["model"]), tmp_path, ["a fox", "a kite"])
    checked = replace(job, measures={"unsafe": "flag"})
    draw(job, lambda event: None)
    assert [Staging(tmp_path).find(drawing.key, "png").measures for drawing in job.drawings] == [{}, {}]
    report = draw(checked, lambda event: None)
    # The pipeline is not loaded for it.
    assert (report.generated, [load["model"] for load in report.loads]) == (0, [f"{job.spec.name}'s safety checker"])
    assert None not in [Staging(tmp_path).find(drawing.key, "png").measures["unsafe"] for drawing in job.drawings]
    # The cached result of the unchecked step does not count for the checked one.
    assert step_key("generate", job) != step_key("generate", checked)
