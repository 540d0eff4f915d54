"""A full device makes batches smaller, a lost or hung one ends the process, and a fault costs the image at fault."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from imagemill.data.errors import BuildFailed
from imagemill.data.staging.in_flight import InFlight
from imagemill.models.loading.load_errors import DeviceLost
from imagemill.models.loading.scorer_cache import resident_scorer
from imagemill.models.running.quarantine import MAX_CRASHES
from imagemill.models.score_job import ScoreJob
from imagemill.models.scoring.score import score
from tests.models.jobs import silent
from tests.models.score_jobs import make_job, noise, request, scorers, stage, written

FolderOf = Callable[[str], str]


@pytest.fixture
def job(folder_of: FolderOf, tmp_path: Path) -> ScoreJob:
    """Eight images in one batch; the fourth is black."""
    spec = scorers(fits={"kind": "similarity", "model": folder_of("clip"), "batch_size": 8})["fits"]
    images = [noise(number) if number != 3 else Image.new("RGB", (40, 40), "black") for number in range(8)]
    asked = [request(spec, ref, "a fox") for ref in stage(tmp_path / "staged", images)]
    return make_job(tmp_path, (spec, asked))


@contextmanager
def fault(job: ScoreJob, fails: Callable[[torch.Tensor], Exception | None]) -> Iterator[list[int]]:
    """In the block, calls of the model fail as ``fails`` says of the pixel values; yields the rows of all calls."""
    calls: list[int] = []

    def hook(module: Any, args: Any, kwargs: Any) -> None:
        calls.append(len(kwargs["pixel_values"]))
        if error := fails(kwargs["pixel_values"]):
            raise error

    spec = job.scorers[0][0]
    handle = resident_scorer(spec, silent).model.vision_model.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield calls
    finally:
        handle.remove()


def is_dark(values: torch.Tensor) -> bool:
    return bool((values.mean(dim=(1, 2, 3)) < -1.5).any())


def full(values: torch.Tensor) -> Exception | None:
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB.") if len(values) > 2 else None


def test_a_batch_that_is_too_large_is_halved_and_the_size_remembered(job: ScoreJob):
    with fault(job, full) as calls:
        report = score(job, silent)
    assert calls == [8, 4, 2, 2, 2, 2]
    assert (report.scored, len(written(job))) == (8, 8)


def test_a_smaller_batch_changes_no_score(job: ScoreJob, tmp_path: Path):
    score(job, silent)
    other = ScoreJob(job.scorers, job.staging, str(tmp_path / "other"))
    with fault(other, full):
        score(other, silent)
    assert {key: found.score for key, found in written(other).items()} == {
        key: found.score for key, found in written(job).items()
    }


def test_on_oom_stop_fails_the_build(job: ScoreJob):
    stopping = ScoreJob(job.scorers, job.staging, job.journal, on_oom="stop")
    with fault(job, full), pytest.raises(BuildFailed, match=r"Make scorers\.fits\.batch_size smaller"):
        score(stopping, silent)


def test_an_image_that_makes_the_model_fail_stands_alone(job: ScoreJob):
    with fault(job, lambda values: ValueError("no such shape") if is_dark(values) else None):
        report = score(job, silent)
    dark = job.scorers[0][1][3].id
    assert report.scored == 7
    assert {key: failure.reason for key, failure in report.failed.items()} == {dark: "ValueError: no such shape"}
    assert dark not in written(job)


def test_a_model_that_fails_on_every_image_fails_the_build(job: ScoreJob):
    with fault(job, lambda values: ValueError("no such kernel")), pytest.raises(BuildFailed) as raised:
        score(job, silent)
    assert "fails on every image, so no single row is at fault: ValueError: no such kernel" in str(raised.value)


def test_a_lost_device_leaves_a_mark_with_its_reason(job: ScoreJob):
    sticky = RuntimeError("CUDA error: device-side assert triggered")
    with fault(job, lambda values: sticky), pytest.raises(DeviceLost):
        score(job, silent, run="r")
    requests = [one.id for one in job.scorers[0][1]]
    [crash] = InFlight(Path(job.staging), "r", requests).crashes()
    assert crash.reason == "RuntimeError: CUDA error: device-side assert triggered"
    assert set(crash.keys) == set(requests)


def crash(job: ScoreJob, keys: list[str]) -> None:
    """Leave what a process that ended while it scored these requests leaves."""
    marks = InFlight(Path(job.staging), "r", [one.id for one in job.scorers[0][1]])
    with marks.mark(keys):
        marks.abandon("Killed")


def test_suspects_of_a_crash_are_scored_one_at_a_time(job: ScoreJob):
    requests = [one.id for one in job.scorers[0][1]]
    crash(job, requests[2:5])
    events: list[dict[str, Any]] = []
    report = score(job, events.append, run="r")
    assert [event["images"] for event in events if event["kind"] == "scored"] == [5, 1, 1, 1]
    assert [event["reason"] for event in events if event["kind"] == "worker_lost"] == ["Killed"]
    assert report.scored == 8


def test_an_image_that_ends_processes_is_left_out(job: ScoreJob):
    requests = [one.id for one in job.scorers[0][1]]
    for _ in range(MAX_CRASHES):
        crash(job, requests[3:4])
    report = score(job, silent, run="r")
    assert report.scored == 7
    assert {key: failure.reason for key, failure in report.failed.items()} == {
        requests[3]: "3 worker processes ended while it was scored: Killed"
    }


def test_processes_that_end_while_they_load_fail_the_build(job: ScoreJob):
    for _ in range(MAX_CRASHES):
        crash(job, [])
    with pytest.raises(BuildFailed, match="3 worker processes ended while they loaded the model 'fits'"):
        score(job, silent, run="r")


def test_a_build_that_has_ended_gets_no_more_scores(job: ScoreJob):
    def report(event: dict[str, Any]) -> None:
        if event["kind"] == "loaded":
            shutil.rmtree(job.staging)

    with pytest.raises(BuildFailed, match="is gone"):
        score(job, report)
    assert not written(job)
