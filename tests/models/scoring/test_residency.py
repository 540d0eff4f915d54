"""Scorers' models are resident beside the pipelines, and evicted like them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagemill.data.config.steps import Generate
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
