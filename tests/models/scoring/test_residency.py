"""Scorers' models are resident beside the pipelines, and evicted like them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from imagemill.data.config.steps import Generate
from imagemill.data.errors import RecipeError
from imagemill.models.catalog.resolve import resolve
from imagemill.models.loading import pipeline_cache
from imagemill.models.loading.pipeline_cache import resident_pipeline
from imagemill.models.loading.scorer_cache import resident_scorer
from imagemill.models.scoring import looks
from imagemill.models.scoring.score import score
from tests.models.jobs import silent
from tests.models.score_jobs import make_job, noise, request, scorers, stage

FolderOf = Callable[[str], str]


def test_a_scorer_and_a_pipeline_evict_each_other_where_one_fits(folder_of: FolderOf, model: Path):
    spec = scorers(fits={"kind": "similarity", "model": folder_of("clip")})["fits"]
    pipeline = resolve("generate", Generate(model=str(model)))
    events: list[dict[str, Any]] = []
    resident_scorer(spec, events.append, max_resident=1)
    resident_pipeline(pipeline, events.append, max_resident=1)
    resident_scorer(spec, events.append, max_resident=1)
    resident_scorer(spec, events.append, max_resident=1)
    assert [(event["kind"], event["model"]) for event in events] == [
        ("loaded", "clip"),
        ("loaded", pipeline.name),
        ("moved", "clip"),
    ]


def test_a_scorer_that_is_dropped_is_loaded_again(
    folder_of: FolderOf, model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    spec = scorers(fits={"kind": "similarity", "model": folder_of("clip")})["fits"]
    refs = stage(tmp_path / "staged", [noise(1), noise(2)])
    first = score(make_job(tmp_path, (spec, [request(spec, refs[0], "a fox")])), silent)
    monkeypatch.setenv("IMAGEMILL_DEVICE_GIB", "0.0001")
    resident_pipeline(resolve("generate", Generate(model=str(model))), silent)
    assert spec.weights_key not in pipeline_cache._resident
    monkeypatch.delenv("IMAGEMILL_DEVICE_GIB")
    second = score(make_job(tmp_path, (spec, [request(spec, refs[1], "a fox")])), silent)
    assert [len(report.loads) for report in (first, second)] == [1, 1]


def test_two_models_that_do_not_fit_together_take_turns_over_chunks(
    folder_of: FolderOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(looks, "MAX_CHUNK_BYTES", 1)
    sections = {name: {"kind": "similarity", "model": folder_of(name)} for name in ("clip", "siglip")}
    specs = scorers(**sections)
    refs = stage(tmp_path / "staged", [noise(number) for number in range(4)])
    events: list[dict[str, Any]] = []
    job = make_job(tmp_path, *((spec, [request(spec, ref, "a fox") for ref in refs]) for spec in specs.values()))
    score(make_job(tmp_path, *job.scorers, max_resident=1), events.append)
    kinds = [event["kind"] for event in events if event["kind"] in ("loaded", "moved")]
    # Four chunks of two models: the one that was last in a chunk is first in the next.
    assert kinds == ["loaded", "loaded", "moved", "moved", "moved"]


def test_a_folder_that_lacks_a_tensor_is_refused(folder_of: FolderOf, tmp_path: Path):
    folder = Path(shutil.copytree(folder_of("clip"), tmp_path / "clip"))
    tensors = load_file(folder / "model.safetensors")
    del tensors["visual_projection.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    spec = scorers(fits={"kind": "similarity", "model": str(folder)})["fits"]
    with pytest.raises(RecipeError, match="lack some of its tensors"):
        resident_scorer(spec, silent)


@pytest.mark.parametrize("files", ["tokenizer*", "preprocessor_config.json"])
def test_a_folder_without_its_preparation_of_inputs_is_refused(files: str, folder_of: FolderOf, tmp_path: Path):
    folder = Path(shutil.copytree(folder_of("clip"), tmp_path / "clip"))
    for path in folder.glob(files):
        path.unlink()
    spec = scorers(fits={"kind": "similarity", "model": str(folder)})["fits"]
    with pytest.raises(RecipeError, match=r"^the model 'clip' cannot be loaded from "):
        resident_scorer(spec, silent)


def test_a_model_with_code_of_its_own_is_refused(folder_of: FolderOf, tmp_path: Path):
    folder = Path(shutil.copytree(folder_of("clip"), tmp_path / "clip"))
    config = json.loads((folder / "config.json").read_text())
    code = {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModel": "mine.Model"}}
    (folder / "config.json").write_text(json.dumps({**config, **code}))
    (folder / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    spec = scorers(fits={"kind": "similarity", "model": str(folder)})["fits"]
    with pytest.raises(RecipeError, match="comes with code"):
        resident_scorer(spec, silent)
    assert not (tmp_path / "ran").exists()
