"""Compiled graphs: one for each shape of a call, up to a limit, which texts and trials of batch sizes do not use up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from imagemill.data.config.speed import Speed
from imagemill.data.config.steps import Edit, Generate
from imagemill.data.errors import BuildFailed
from imagemill.data.records import Drawing
from imagemill.data.staging.store import Staging
from imagemill.models.catalog.resolve import resolve
from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.drawing.draw import draw
from imagemill.models.job import Job
from imagemill.models.loading import acceleration, pipeline_cache
from tests.models.jobs import PNG, generated, silent
from tests.models.tiny import save_tiny

COMPILED = Speed(compile=True)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("tiny")
    return lambda family: folder / family if (folder / family).is_dir() else save_tiny(family, folder)


@pytest.fixture(autouse=True)
def compiles_fast(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """torch makes the same graphs, and runs them without generating code for them: that takes a minute each."""
    monkeypatch.setattr(pipeline_cache, "_resident", {})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    compile_module = torch.nn.Module.compile
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda module, **named: compile_module(module, backend="eager", **named)
    )
    torch._dynamo.reset()
    with torch._dynamo.config.patch(recompile_limit=8, fail_on_recompile_limit_hit=False):
        yield
    torch._dynamo.reset()


def drawing(number: int, prompt: str = "a fox", **changes: Any) -> Drawing:
    size = {"width": 64, "height": 64, **changes}
    return Drawing(f"{number:032x}", prompt, seed=number, steps=2, guidance_scale=1.0, **size)


def job_of(spec: ModelSpec, staging: Path, drawings: list[Drawing], **changes: Any) -> Job:
    staging.mkdir(exist_ok=True)
    encodings = {row.key: (PNG,) for row in drawings}
    return Job(spec, tuple(drawings), encodings, changes.pop("batch_size", 1), frozenset(), str(staging), **changes)


def test_a_graph_too_many_ends_the_build_and_keeps_its_images(tiny: Callable, tmp_path: Path, monkeypatch: Any):
    monkeypatch.setattr(acceleration, "MAX_GRAPHS", 1)
    spec = resolve("generate", Generate(model=str(tiny("FluxPipeline")), speed=COMPILED))
    rows = [drawing(1), drawing(2, height=128)]
    with pytest.raises(
        BuildFailed, match=r"'FluxPipeline' has 1 compiled graphs .*Build again to continue with new workers"
    ):
        draw(job_of(spec, tmp_path / "staged", rows), silent)
    assert [bool(Staging(tmp_path / "staged").find(row.key, PNG.name)) for row in rows] == [True, False]


def test_trials_of_batch_sizes_use_up_no_graphs(tiny: Callable, tmp_path: Path, monkeypatch: Any):
    # The first size's, and two trials of the second: batches of one and of two.
    monkeypatch.setattr(acceleration, "MAX_GRAPHS", 3)
    spec = resolve("generate", Generate(model=str(tiny("FluxPipeline")), speed=COMPILED))
    for height in (64, 128):
        job = job_of(spec, tmp_path / "staged", [drawing(height, height=height)], batch_size=2, finds_batch_size=True)
        assert draw(job, silent).generated == 1


@pytest.mark.parametrize(
    ("family", "graphs"),
    [
        ("FluxPipeline", 1),
        ("QwenImagePipeline", 1),
        # Its blocks are called with the image, the text and both. Of constant lengths these would be eleven.
        ("ZImagePipeline", 5),
    ],
)
def test_texts_of_any_length_share_a_graph(tiny: Callable, tmp_path: Path, monkeypatch: Any, family: str, graphs: int):
    monkeypatch.setattr(acceleration, "MAX_GRAPHS", graphs)
    spec = resolve("generate", Generate(model=str(tiny(family)), speed=COMPILED))
    generated(spec, tmp_path, [drawing(count, "fox " * count) for count in (1, 10, 30, 50, 90)], batch_size=1)


def test_instructions_of_any_length_share_a_graph(tmp_path: Path, monkeypatch: Any):
    monkeypatch.setattr(acceleration, "MAX_GRAPHS", 1)
    monkeypatch.setenv("IMAGEMILL_PIPELINE", "tests.models.tiny.qwen:qwen_edit")
    (tmp_path / "model_index.json").write_text('{"_class_name": "QwenImageEditPlusPipeline"}')
    spec = resolve("edit", Edit(model=str(tmp_path), speed=COMPILED))
    rows = [drawing(count, "fox " * count, **source(tmp_path)) for count in (1, 10, 90)]
    generated(spec, tmp_path / "staged", rows)


def source(folder: Path) -> dict[str, Any]:
    from hashlib import sha256

    from PIL import Image

    path = folder / "source.png"
    Image.linear_gradient("L").resize((64, 64)).convert("RGB").save(path)
    return {"source_path": str(path), "source_hash": sha256(path.read_bytes()).hexdigest()}


def test_compiled_images_whose_graphs_depended_on_earlier_rows_are_generated_again(tiny: Callable):
    model = str(tiny("ZImagePipeline"))
    plain, compiled = (
        resolve("generate", Generate(model=model, speed=speed)).identity for speed in (Speed(), COMPILED)
    )
    assert compiled == {**plain, "speed": {"compile": True}, "version": 2}
