"""A pipeline that the catalog does not have is called by its signature or a user's family, once it is proven."""

from __future__ import annotations

import inspect
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from imagemill.data.config.steps import Generate
from imagemill.data.errors import RecipeError
from imagemill.data.records import Drawing
from imagemill.models.catalog.resolve import resolve
from imagemill.models.catalog.spec import ModelSpec, untried_families
from imagemill.models.drawing import proof
from imagemill.models.drawing.batches import PreparedDrawing
from imagemill.models.loading import pipeline_cache
from tests.models.jobs import generated
from tests.models.tiny.untried import UNTRIED

numbers = count(1)


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_cache, "_resident", {})
    monkeypatch.setattr(proof, "_proven", set())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the tiny pipelines, by class."""
    above = tmp_path_factory.mktemp("untried")
    for name, make in UNTRIED.items():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            make().save_pretrained(above / name, safe_serialization=True)
    return above


def row(**changes: Any) -> Drawing:
    plain = {"prompt": "a fox", "seed": 3, "steps": 3, "guidance_scale": 4.0, "width": 64, "height": 64}
    return Drawing(f"{next(numbers):032x}", **{**plain, **changes})


@pytest.mark.slow
@pytest.mark.parametrize("kind", UNTRIED)
def test_a_pipeline_is_called_by_its_signature(kind: str, folder: Path, tmp_path: Path):
    spec = resolve("generate", Generate(model=str(folder / kind)))
    assert spec.is_untried
    assert spec.limits.max_batch == 1
    assert f"is a {kind}, untested by imagemill" in untried_families([spec])[0]
    changes = [{}, {"prompt": "a kite"}, {}, {"seed": 4}, {"guidance_scale": 8.0}, {"steps": 5}]
    if spec.limits.negative_prompt:
        changes.append({"negative_prompt": "a long list of what should not be there"})
    first, *others = generated(spec, tmp_path, [row(**change) for change in changes])
    assert [(image == first).all() for image in others] == [number == 1 for number in range(len(others))]
    assert len(proof._proven) == 1


@pytest.mark.slow
def test_a_users_family_says_how_its_pipeline_is_called(folder: Path, tmp_path: Path):
    task = {"pipeline": "PixArtAlphaPipeline", "arguments": {"use_resolution_binning": False, "clean_caption": False}}
    settings = {"dtype": "float32", "width": 64, "height": 64, "steps": 2, "guidance_scale": 4.5, "size_multiple": 8}
    family = {"tasks": {"text-to-image": task}, **settings, "negative_prompt": True, "max_sequence_length": 120}
    models = {"mine": {"family": "PixArtAlphaPipeline", "folder": str(folder / "PixArtAlphaPipeline"), "steps": 3}}
    file = tmp_path / "models.yaml"
    file.write_text(yaml.safe_dump({"families": {"PixArtAlphaPipeline": family}, "models": models}))
    spec = resolve("generate", Generate(model="mine"), models_file=str(file))
    assert (spec.defaults.steps, spec.limits.size_multiple, spec.call.max_sequence_length) == (3, 8, 120)
    assert spec.call.arguments == task["arguments"]
    assert spec.identity["call"] == task["arguments"]
    assert spec.is_untried
    (image,) = generated(spec, tmp_path / "staged", [row()])
    assert image.shape == (64, 64, 3)


class Faulty:
    """A pipeline whose images are of one number, with one fault."""

    def __init__(self, fault: str) -> None:
        self.fault = fault
        self.calls = 0

    def __call__(
        self, prompt: list[str], generator: list[torch.Generator], num_inference_steps: int, output_type: str
    ) -> Any:
        self.calls += 1
        numbers = []
        for place, (text, seed) in enumerate(zip(prompt, generator, strict=True)):
            words = sum(map(ord, text)) / 2000 if self.fault != "prompt" else 0
            noise = torch.rand(1, generator=seed).item() if self.fault != "seed" else 0
            extra = {"place": place / 3, "neighbour": max(map(len, prompt)) / 1000, "calls": self.calls / 3}.get(
                self.fault, 0
            )
            numbers.append((words + noise + extra) % 1)
        images = torch.tensor(numbers).reshape(-1, 1, 1, 1).expand(-1, 3, 8, 8)
        return type("Output", (), {"images": images})


def untried(spec: ModelSpec) -> tuple[ModelSpec, PreparedDrawing]:
    # As a user's family may have it.
    return replace(spec, limits=replace(spec.limits, max_batch=None)), PreparedDrawing(row(), None, 8, 8)


@pytest.mark.parametrize(
    ("fault", "batch_size", "words"),
    [
        ("place", 2, "an image depends on its place in the batch"),
        ("neighbour", 2, "an image depends on its neighbour's prompt.*Set batch_size to 1"),
        ("seed", 2, "the seed changes nothing"),
        ("prompt", 2, "the prompt changes nothing"),
        ("calls", 1, "the same row gives two images"),
        ("none", 2, None),
        ("none", 1, None),
        ("place", 1, None),
        ("neighbour", 1, None),
    ],
)
def test_a_pipeline_with_a_fault_is_refused_on_its_first_rows(
    fault: str, batch_size: int, words: str | None, folder: Path
):
    spec, first = untried(resolve("generate", Generate(model=str(folder / "PixArtAlphaPipeline"))))
    pipeline = Faulty(fault)
    if words:
        with pytest.raises(RecipeError, match=words):
            proof.prove(pipeline, spec, first, batch_size)
        return
    proof.prove(pipeline, spec, first, batch_size)
    calls = pipeline.calls
    proof.prove(pipeline, spec, first, batch_size)
    assert pipeline.calls == calls


def test_a_family_of_the_catalog_needs_no_proof(tmp_path: Path):
    spec = resolve("generate", Generate(model="bundled"))
    assert not spec.is_untried
    assert untried_families([spec]) == []
    pipeline = Faulty("place")
    proof.prove(pipeline, spec, PreparedDrawing(row(), None, 8, 8), 2)
    assert pipeline.calls == 0


def test_batches_of_one_row_are_proven_where_two_do_not_fit(folder: Path):
    spec, first = untried(resolve("generate", Generate(model=str(folder / "PixArtAlphaPipeline"))))

    class Small(Faulty):
        def __call__(self, prompt: list[str], *args: Any, **more: Any) -> Any:
            if len(prompt) > 1:
                raise torch.OutOfMemoryError("out of memory")
            return super().__call__(prompt, *args, **more)

    Small.__call__.__signature__ = inspect.signature(Faulty.__call__)
    pipeline = Small("none")
    proof.prove(pipeline, spec, first, 2)
    assert pipeline.calls
