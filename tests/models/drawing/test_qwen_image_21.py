"""Qwen-Image 2.1: all that a row asks for decides its image, which is opaque; its steps may be fixed by its makers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from imagemill.data.config.steps import Edit, Generate
from imagemill.data.errors import RecipeError
from imagemill.data.records import Drawing
from imagemill.models.catalog.families import packages
from imagemill.models.catalog.resolve import resolve
from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.drawing.batches import PreparedDrawing
from imagemill.models.drawing.pipeline_call import draw_batch, opaque
from imagemill.models.loading import pipeline_cache
from tests.models.catalog.folders import COMMIT
from tests.models.jobs import generated
from tests.models.tiny.qwen21 import qwen_image_21

WIDTH, HEIGHT = 64, 128

numbers = count(1)


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModelSpec]:
    """Task -> the tiny model's spec."""
    monkeypatch.setenv("IMAGEMILL_PIPELINE", "tests.models.tiny.qwen21:qwen_image_21")
    monkeypatch.setattr(pipeline_cache, "_resident", {})
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "QwenImage21Pipeline"}))

    def spec_of(task: str) -> ModelSpec:
        if task == "text-to-image":
            return resolve("generate", Generate(model=str(tmp_path)))
        return resolve("edit", Edit(model=str(tmp_path), task=task))

    return spec_of


@pytest.fixture
def sources(tmp_path: Path) -> list[tuple[str, str]]:
    """Path and hash of two images that have little in common."""
    slope = Image.linear_gradient("L").resize((WIDTH, HEIGHT))
    ring = Image.radial_gradient("L").resize((WIDTH, HEIGHT)).point(lambda value: 255 * (value > 100))
    found = []
    for name, image in {"slope": slope, "ring": ring}.items():
        image.convert("RGB").save(path := tmp_path / f"{name}.png")
        found.append((str(path), sha256(path.read_bytes()).hexdigest()))
    return found


def drawing(**changes: Any) -> Drawing:
    plain = Drawing(f"{next(numbers):032x}", "a fox in the snow", seed=3, steps=4, guidance_scale=3.0)
    return replace(plain, **changes)


def test_all_that_a_row_asks_for_decides_its_image_and_nothing_else(spec: Callable, tmp_path: Path):
    size = {"width": WIDTH, "height": HEIGHT}
    changes = [
        {"prompt": "a castle"},
        {"seed": 9},
        {"steps": 7},
        {"guidance_scale": 6.0},
        {"negative_prompt": "blurry"},
        {"guidance_scale": 1.0},
    ]
    rows = [drawing(**size), *(drawing(**size, **change) for change in changes), drawing(**size)]
    plain, *changed, again = generated(spec("text-to-image"), tmp_path / "staged", rows)
    assert plain.shape == (HEIGHT, WIDTH, 3)
    assert [change for change, image in zip(changes, changed, strict=True) if (image == plain).all()] == []
    assert (again == plain).all()


def test_source_instruction_and_references_decide_an_edit(spec: Callable, sources: list, tmp_path: Path):
    (slope, slope_hash), (ring, ring_hash) = sources
    source = {"source_path": slope, "source_hash": slope_hash}
    rows = [
        drawing(**source),
        drawing(source_path=ring, source_hash=ring_hash),
        drawing(**source, prompt="a castle"),
        drawing(**source, references=((ring, ring_hash),)),
        drawing(**source),
    ]
    plain, *changed, again = generated(spec("instruction"), tmp_path / "staged", rows)
    assert plain.shape == (HEIGHT, WIDTH, 3)
    assert not any((image == plain).all() for image in changed)
    assert (again == plain).all()


def test_transparency_lies_on_white():
    colours = torch.tensor([1.0, 0.0, 0.5]).view(3, 1, 1).expand(3, 1, 3)
    alpha = torch.tensor([1.0, 0.5, 0.0]).view(1, 1, 3)
    found = opaque(torch.cat([colours, alpha]))
    assert found.permute(1, 2, 0)[0].tolist() == [[1.0, 0.0, 0.5], [1.0, 0.5, 0.75], [1.0, 1.0, 1.0]]
    assert torch.equal(opaque(colours), colours)


def test_steps_that_its_makers_fixed_are_named(spec: Callable):
    pipeline = qwen_image_21(None, torch.device("cpu"), sample_sigmas=[1.0, 0.6, 0.3])
    prepared = PreparedDrawing(drawing(width=WIDTH, height=HEIGHT), None, WIDTH, HEIGHT)
    model = spec("text-to-image")
    with pytest.raises(RecipeError, match=r"generates in 3 steps.*sample_sigmas.*and this image has 4: set steps: 3\."):
        draw_batch(pipeline, model, [prepared], 1)
    fixed = replace(prepared, drawing=replace(prepared.drawing, steps=3))
    assert np.asarray(draw_batch(pipeline, model, [fixed], 1)[0][1]).shape == (HEIGHT, WIDTH, 3)


def test_the_published_model_names_the_package_that_its_processor_needs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(packages, "is_installed", lambda name: name != "torchvision")
    with pytest.raises(RecipeError, match=r"its processor needs torchvision, which is not installed: pip install torc"):
        resolve("generate", Generate(model="qwen-image-2.1", revision=COMMIT))
