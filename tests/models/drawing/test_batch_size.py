"""`batch_size: auto`: found by trial, once per model, image size and device, and cached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imagemill.models.drawing import recovery
from imagemill.models.drawing.batch_size import find_knee
from imagemill.models.drawing.draw import draw
from imagemill.models.job import Job
from imagemill.models.loading.pipeline_cache import resident_pipeline
from tests.models.jobs import batch_sizes, loaded_as, make_job, silent


@pytest.fixture
def auto(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a job of eleven images with `batch_size: auto`, for one of the pipelines that fail on purpose."""

    def make(kind: str, **changes: Any) -> Job:
        monkeypatch.setenv("IMAGEMILL_PIPELINE", f"tests.models.faulty:{kind}")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setattr(recovery, "_fits", {})
        prompts = [f"number {number}" for number in range(11)]
        job = make_job(model, tmp_path / "staging", prompts, batch_size=64, finds_batch_size=True, **changes)
        return loaded_as(job, kind)

    return make


def test_the_batch_doubles_until_images_per_second_stop_growing():
    # A device that works on up to eight images side by side, and one that works on one.
    assert knee(lambda size: max(1.0, size / 8), largest=64) == 8
    assert knee(lambda size: max(1.0, size / 8), largest=4) == 4
    assert knee(float, largest=64) == 1


def test_a_size_that_does_not_fit_is_not_taken_however_fast(auto: Any):
    job = auto("small")
    assert draw(job, silent).generated == 11
    assert set(batch_sizes(job)) <= {1, 2}


def test_the_size_is_recorded_with_each_image_and_cached_for_the_next_process(auto: Any, monkeypatch: Any):
    job = auto("steady")
    draw(job, silent)
    (found,) = set(batch_sizes(job))
    tried = len(resident_pipeline(job.spec, silent).calls)
    # Another process has nothing but the file.
    monkeypatch.setattr(recovery, "_fits", {})
    Path(f"{job.staging}-2").mkdir()
    draw(replace(job, staging=f"{job.staging}-2"), silent)
    assert len(resident_pipeline(job.spec, silent).calls) - tried == -(-11 // found)


def knee(seconds: Callable[[int], float], largest: int) -> int:
    """The size found where a batch takes this long, by a clock that only batches advance."""
    passed = [0.0]

    def draw_for(size: int) -> None:
        passed[0] += seconds(size)

    return find_knee(draw_for, largest, clock=lambda: passed[0])
