"""Failing devices: one that runs out of memory gets smaller batches, a lost one ends the process."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from imagemill.data.errors import BuildFailed
from imagemill.data.staging.in_flight import KILLED, InFlight
from imagemill.models.drawing.draw import draw
from imagemill.models.job import Job
from imagemill.models.loading import pipeline_cache
from imagemill.models.loading.load_errors import DeviceLost
from imagemill.models.loading.pipeline_cache import resident_pipeline
from tests.models.jobs import batch_sizes, loaded_as, make_job, silent


@pytest.fixture
def faulty(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a job over prompts, in batches of four, for one of the pipelines that fail on purpose."""

    def make(kind: str, prompts: list[str], **changes: Any) -> Job:
        monkeypatch.setenv("IMAGEMILL_PIPELINE", f"tests.models.faulty:{kind}")
        return loaded_as(make_job(model, tmp_path, prompts, **changes), f"{kind}-{uuid4()}")

    return make


def test_a_batch_that_does_not_fit_is_halved_and_the_size_that_fits_is_cached_and_recorded(faulty: Any):
    job = faulty("small", [f"number {number}" for number in range(8)])
    report = draw(job, silent)
    assert (report.generated, report.failed) == (8, {})
    assert batch_sizes(job) == [2] * 8
    tried = [len(prompts) for prompts in resident_pipeline(job.spec, silent).calls]
    assert tried == [4, 2, 2, 2, 2]


def test_a_model_that_ran_out_of_memory_beside_another_is_alone_from_then_on(
    faulty: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pipeline_cache, "_resident", {})
    monkeypatch.setattr(pipeline_cache, "_crowded", {})
    monkeypatch.setenv("IMAGEMILL_DEVICE_GIB", "1")
    other, job = faulty("crowded", ["a fox"]), faulty("crowded", ["a large fox"])
    calls = []
    for turn in range(3):
        draw_anew(other, tmp_path / f"{turn} other")
        draw_anew(job, tmp_path / f"{turn}")
        calls.append(len(resident_pipeline(job.spec, silent).calls))
    # Two attempts, then one at each change.
    assert calls == [2, 3, 4]


def test_a_model_that_runs_out_of_memory_alone_too_stands_beside_another_again(
    faulty: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pipeline_cache, "_resident", {})
    monkeypatch.setattr(pipeline_cache, "_crowded", {})
    monkeypatch.setenv("IMAGEMILL_DEVICE_GIB", "1")
    other, job = faulty("steady", ["a star"]), faulty("small", [f"number {number}" for number in range(4)])
    for turn in range(2):
        draw_anew(other, tmp_path / f"{turn} other")
        draw_anew(job, tmp_path / f"{turn}")
    assert [resident.spec for resident in pipeline_cache._resident.values()] == [job.spec, other.spec]
    assert all(resident.is_on_device for resident in pipeline_cache._resident.values())


def test_an_image_that_never_fits_is_set_aside_at_the_requested_size_and_steps(faulty: Any):
    job = faulty("small", ["a fox", "huge", "a ring", "a star"])
    report = draw(job, silent)
    (failure,) = report.failed.values()
    assert report.generated == 3
    assert "out of memory" in failure.reason
    assert "batch of 1, 64 x 64 pixels" in failure.reason


def test_on_oom_set_aside_generates_no_smaller_batch(faulty: Any):
    job = faulty("small", ["a fox", "a kite", "a ring", "a star", "a cat", "a dog"], on_oom="set_aside", batch_size=3)
    with pytest.raises(BuildFailed, match="fails on every image"):
        draw(job, silent)
    assert {len(prompts) for prompts in resident_pipeline(job.spec, silent).calls} == {3}


def test_on_oom_stop_says_what_to_do(faulty: Any):
    with pytest.raises(BuildFailed, match=r"ran out of memory.*batch of 4, 64 x 64.*batch_size smaller"):
        draw(faulty("small", ["a fox"], on_oom="stop"), silent)


def test_a_lost_device_ends_the_process_and_leaves_the_reason_for_the_next(faulty: Any, tmp_path: Path):
    job = faulty("asserting", ["a fox", "an assert"])
    with pytest.raises(DeviceLost, match="device-side assert"):
        draw(job, silent, run="a")
    (crash,) = InFlight(tmp_path, "a", [drawing.key for drawing in job.drawings]).crashes()
    assert crash.keys == tuple(drawing.key for drawing in job.drawings)
    assert crash.reason == "RuntimeError: CUDA error: device-side assert triggered"


@pytest.mark.slow
def test_a_device_that_hangs_after_an_error_ends_the_process_in_the_time_of_a_batch(faulty: Any, tmp_path: Path):
    job = faulty("hung", ["a fox"], batch_timeout=1.0)
    process = multiprocessing.get_context("spawn").Process(target=draw, args=(job, silent, "a"))
    process.start()
    process.join(60)
    process.kill()
    (crash,) = InFlight(tmp_path, "a", [drawing.key for drawing in job.drawings]).crashes()
    assert crash.reason == "a batch took longer than recipe.batch_timeout, 1 s"


def test_a_row_that_ends_every_process_is_isolated_and_set_aside_after_three(faulty: Any):
    job = faulty("asserting", ["a fox", "an assert", "a ring", "a star", "a cat"])
    for _ in range(3):
        with pytest.raises(DeviceLost):
            draw(job, silent, run="a")
    events: list[dict[str, Any]] = []
    report = draw(job, events.append, run="a")
    assert {key: failure.attempts for key, failure in report.failed.items()} == {job.drawings[1].key: 3}
    assert (
        "3 worker processes ended while it was generated: RuntimeError: CUDA error"
        in report.failed[job.drawings[1].key].reason
    )
    assert batch_sizes(job) == [4] * 4
    assert events[1]["kind"] == "worker_lost"
    # After the first process the suspects were generated one at a time, so that they did not fail the others again.
    tried = [len(set(prompts)) for prompts in resident_pipeline(job.spec, silent).calls]
    assert tried == [4, 1, 1, 1, 1, 1, 1]


def test_a_device_that_fails_whatever_the_row_fails_the_build_and_blames_no_row(faulty: Any):
    job = faulty("asserting", [f"assert {number}" for number in range(4)])
    for _ in range(7):
        with pytest.raises(DeviceLost):
            draw(job, silent, run="a")
    with pytest.raises(BuildFailed, match="whatever the row"):
        draw(job, silent, run="a")


def test_a_build_that_was_killed_blames_no_row_for_it(faulty: Any):
    job = faulty("asserting", ["a fox", "a kite"])
    leave_notes(job, "the build before", [job.drawings[0].key])
    report = draw(job, silent, run="this build")
    assert (report.generated, report.failed) == (2, {})


def test_processes_that_end_while_they_load_the_model_fail_the_build(faulty: Any):
    job = faulty("asserting", ["a fox"])
    leave_notes(job, "a", [])
    with pytest.raises(BuildFailed, match=r"3 worker processes ended while they loaded .* out of host memory"):
        draw(job, silent, run="a")


def draw_anew(job: Job, staging: Path) -> None:
    """Generate all of a job's images, of which none is staged in this folder."""
    staging.mkdir()
    assert draw(replace(job, staging=str(staging)), silent).generated == len(job.drawings)


def leave_notes(job: Job, run: str, keys: list[str]) -> None:
    """Leave the notes of three processes that were killed while they generated these images."""
    in_flight = InFlight(Path(job.staging), run, [drawing.key for drawing in job.drawings])
    for _ in range(3):
        with in_flight.mark(keys):
            in_flight.abandon(KILLED)
    assert len(in_flight.crashes()) == 3
