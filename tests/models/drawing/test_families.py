"""Every family of pipelines: an image depends on all that its row asks for, and not on its neighbours in the batch."""

from __future__ import annotations

import json
import shutil
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
from imagemill.data.staging.store import Staging
from imagemill.models.catalog.resolve import read_catalog, resolve
from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.catalog.tried import IN_MEMORY, LARGE, SAVED, TRIED
from imagemill.models.drawing.draw import draw
from imagemill.models.job import Job
from imagemill.models.loading import pipeline_cache
from imagemill.models.loading.pipeline_cache import resident_pipeline
from tests.models.jobs import PNG, generated, silent
from tests.models.tiny import save_tiny

WIDTH, HEIGHT = 64, 128
WITHOUT_GUIDANCE = ["Flux2KleinPipeline", "HunyuanImagePipeline"]
"""Families whose tiny pipeline makes no use of a guidance scale: it is distilled, or has guiders."""
CASES = [(family, task) for family, tasks in TRIED.items() for task, how in tasks.items() if how == SAVED]
MEGAPIXELS = [
    pytest.param(family, task, marks=pytest.mark.slow)
    for family, tasks in TRIED.items()
    for task, how in tasks.items()
    if how == LARGE
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the tiny pipelines."""
    return tmp_path_factory.mktemp("tiny")


@pytest.fixture
def tiny(folder: Path) -> Callable[[str], Path]:
    """Family -> the folder of its tiny pipeline, made on first need."""
    return lambda family: folder / family if (folder / family).is_dir() else save_tiny(family, folder)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two images to edit, which have little in common."""
    folder = tmp_path_factory.mktemp("sources")
    slope = Image.linear_gradient("L").resize((WIDTH, HEIGHT))
    slope.convert("RGB").save(folder / "slope.png")
    Image.radial_gradient("L").resize((WIDTH, HEIGHT)).point(lambda value: 255 * (value > 100)).convert("RGB").save(
        folder / "ring.png"
    )
    mask = Image.new("L", (WIDTH, HEIGHT))
    mask.paste(255, (0, 32, WIDTH, HEIGHT))
    mask.save(folder / "mask.png")
    return [folder / "slope.png", folder / "ring.png"]


def spec_of(folder: Path, task: str, **settings: Any) -> ModelSpec:
    """The model in a folder, for a task."""
    if task == "text-to-image":
        return resolve("generate", Generate(model=str(folder)))
    return resolve("edit", Edit(model=str(folder), task=task, **settings))


numbers = count(1)


def drawing(task: str, source: Path, **changes: Any) -> Drawing:
    """A drawing with a new key. Of fewer than four steps image-to-image would leave out none."""
    own = (
        {"width": WIDTH, "height": HEIGHT}
        if task == "text-to-image"
        else {"source_path": str(source), "source_hash": sha256(source.read_bytes()).hexdigest()}
    )
    if task == "inpaint":
        mask = source.with_name("mask.png")
        own |= {"mask_path": str(mask), "mask_hash": sha256(mask.read_bytes()).hexdigest()}
    plain = Drawing(f"{next(numbers):032x}", "a fox in the snow", seed=3, steps=4, guidance_scale=3.0, **own)
    return replace(plain, **changes)


@pytest.mark.parametrize(("family", "task"), CASES)
def test_a_rows_image_does_not_depend_on_its_neighbours_or_its_place(tiny, sources, tmp_path, family, task):
    spec = spec_of(tiny(family), task)
    fox = drawing(task, sources[0])
    other = drawing(task, sources[1], prompt="a kite", seed=4)
    again = [replace(row, key=f"{next(numbers):032x}") for row in (other, fox, fox)]
    first, second = generated(spec, tmp_path, [fox, other])
    moved_second, moved_first, alone = generated(spec, tmp_path, again)
    assert first.shape == (HEIGHT, WIDTH, 3)
    assert (first != second).any()
    assert (moved_first == first).all()
    assert (moved_second == second).all()
    assert (alone == first).all()


@pytest.mark.parametrize(("family", "task"), [*CASES, *MEGAPIXELS])
def test_all_that_a_row_asks_for_decides_its_image(tiny, sources, tmp_path, family, task):
    spec, section = spec_of(tiny(family), task), read_catalog().families[family]
    changes = {"prompt": {"prompt": "a castle"}, "seed": {"seed": 9}, "steps": {"steps": 7}}
    if (family, task) not in CASES:
        changes = {"prompt": {"prompt": "a castle"}, "steps": {"steps": 2}}
    elif family not in WITHOUT_GUIDANCE:
        changes["guidance"] = {"guidance_scale": 6.0}
    if section.negative_prompt:
        changes["negative prompt"] = {"negative_prompt": "blurry"}
    drawings = [
        drawing(task, sources[0]),
        *(drawing(task, sources[0], **change) for change in changes.values()),
    ]
    if task != "text-to-image":
        changes["source"] = {}
        drawings.append(drawing(task, sources[1]))
    plain, *changed = generated(spec, tmp_path, drawings, batch_size=1)
    same = [name for name, image in zip(changes, changed, strict=True) if (image == plain).all()]
    assert same == []


@pytest.mark.parametrize(("family", "task"), {family: (family, task) for family, task in CASES}.values())
@pytest.mark.parametrize("generator", [torch.rand, np.random.rand], ids=["torch", "numpy"])
def test_noise_without_a_rows_seed_stops_the_first_batch(tiny, sources, tmp_path, monkeypatch, family, task, generator):
    spec = spec_of(tiny(family), task)
    scheduler = resident_pipeline(spec, silent).scheduler
    step = scheduler.step

    def noisy(*arguments: Any, **named: Any) -> Any:
        generator(1)
        return step(*arguments, **named)

    monkeypatch.setattr(scheduler, "step", noisy)
    drawings = (drawing(task, sources[0]), drawing(task, sources[0]))
    job = Job(spec, drawings, {row.key: (PNG,) for row in drawings}, 1, frozenset(), str(tmp_path))
    with pytest.raises(RecipeError, match=rf"'{family}' used random numbers that no row's seed decides .*scheduler"):
        draw(job, silent)
    assert not any(Staging(tmp_path).find(row.key, PNG.name) for row in drawings)


@pytest.mark.parametrize("family", [family for family, tasks in TRIED.items() if list(tasks.values()).count(SAVED) > 1])
def test_a_pipeline_around_the_parts_of_another_generates_as_one_loaded_by_itself(
    tiny, sources, tmp_path, family, monkeypatch
):
    folder = tiny(family)
    if family == "StableDiffusionXLPipeline":
        # A setting that is no part: how an empty negative prompt is encoded.
        folder = shutil.copytree(folder, tmp_path / "model")
        index = json.loads((folder / "model_index.json").read_text())
        (folder / "model_index.json").write_text(json.dumps({**index, "force_zeros_for_empty_prompt": False}))
    specs = {task: spec_of(folder, task) for task in TRIED[family]}
    shared, alone = {}, {}
    monkeypatch.setattr(pipeline_cache, "_resident", {})
    for task, spec in specs.items():
        shared[task] = generated(spec, tmp_path, [drawing(task, sources[0])])[0]
    for task, spec in specs.items():
        monkeypatch.setattr(pipeline_cache, "_resident", {})
        alone[task] = generated(spec, tmp_path, [drawing(task, sources[0])])[0]
    assert [task for task in specs if (shared[task] != alone[task]).any()] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "task"),
    [
        (family, task)
        for family, tasks in TRIED.items()
        for task, how in tasks.items()
        # Qwen-Image 2.1: test_qwen_image_21.py.
        if how == IN_MEMORY and family.startswith("QwenImageEdit")
    ],
)
def test_an_instruction_and_its_source_decide_the_edit_where_a_pipeline_enlarges_sources(
    sources, tmp_path, monkeypatch, family, task
):
    monkeypatch.setenv("IMAGEMILL_PIPELINE", "tests.models.tiny.qwen:qwen_edit")
    monkeypatch.setattr(pipeline_cache, "_resident", {})
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": family}))
    spec, few = spec_of(tmp_path, task), {"steps": 2}
    shape = (HEIGHT, WIDTH, 3)
    if task == "inpaint":
        # The size that it generates: it ignores any other.
        few, shape = {**few, "width": 1024, "height": 1024}, (1024, 1024, 3)
    drawings = [drawing(task, sources[0], **few), drawing(task, sources[1], **few)]
    drawings += [drawing(task, sources[0], prompt="a castle", **few)]
    plain, other_source, other_prompt = generated(spec, tmp_path / "staged", drawings)
    assert plain.shape == shape
    assert (plain != other_source).any()
    assert (plain != other_prompt).any()


def test_a_model_whose_part_needs_a_missing_package_says_so(tiny, sources, tmp_path):
    folder = shutil.copytree(tiny("FluxPipeline"), tmp_path / "model")
    index = json.loads((folder / "model_index.json").read_text())
    index["tokenizer"] = ["onnxruntime.training", "Tokenizer"]
    (folder / "model_index.json").write_text(json.dumps(index))
    spec = spec_of(folder, "text-to-image")
    with pytest.raises(RecipeError, match=r"'model' needs a package that is not installed: .*onnxruntime"):
        generated(spec, tmp_path / "staged", [drawing("text-to-image", sources[0])])
