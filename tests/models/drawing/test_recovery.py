"""Devices that fail: memory that runs out makes batches smaller and nothing else; a lost device ends the process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tests.models.drawing.test_generate import job

from imagemill.data.errors import BuildFailed
from imagemill.data.staging.in_flight import KILLED, InFlight
from imagemill.data.staging.store import Staging
from imagemill.models.drawing.device_errors import DeviceLost
from imagemill.models.drawing.draw import draw
from imagemill.models.job import Job
from imagemill.models.loading.pipeline_cache import resident_pipeline


@pytest.fixture
def faulty(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a job over prompts, in batches of four, for one of the pipelines that fail on purpose."""

    def make(kind: str, prompts: list[str], **changes: Any) -> Job:
        monkeypatch.setenv("IMAGEMILL_PIPELINE", f"tests.models.faulty:{kind}")
        asked = job(model, tmp_path, prompts, **changes)
        return replace(asked, spec=replace(asked.spec, files=f"{kind}-{uuid4()}"))

    return make


def silent(event: dict[str, Any]) -> None:
    """Nobody listens."""


def batch_sizes(asked: Job) -> list[int]:
    staging = Staging(Path(asked.staging))
    return [found.batch_size for one in asked.drawings if (found := staging.find(one.key, "png"))]


def test_a_batch_that_does_not_fit_is_halved_and_the_size_that_fits_is_remembered_and_recorded(faulty: Any):
    asked = faulty("small", [f"number {number}" for number in range(8)])
    report = draw(asked, silent)
    assert (report.generated, report.failed) == (8, {})
    assert batch_sizes(asked) == [2] * 8
    tried = [len(prompts) for prompts in resident_pipeline(asked.spec, silent).calls]
    assert tried == [4, 2, 2, 2, 2]


def test_an_image_that_never_fits_is_set_aside_at_the_size_and_steps_that_were_asked_for(faulty: Any):
    asked = faulty("small", ["a fox", "huge", "a ring", "a star"])
    report = draw(asked, silent)
    (failure,) = report.failed.values()
    assert report.generated == 3
    assert "out of memory" in failure.reason
    assert "batch of 1, 64 x 64 pixels" in failure.reason


def test_on_oom_set_aside_generates_no_smaller_batch(faulty: Any):
    asked = faulty("small", ["a fox", "a kite", "a ring", "a star", "a cat", "a dog"], on_oom="set_aside", batch_size=3)
    with pytest.raises(BuildFailed, match="fails on every image"):
        draw(asked, silent)
    assert {len(prompts) for prompts in resident_pipeline(asked.spec, silent).calls} == {3}


def test_on_oom_stop_stops_with_what_to_do(faulty: Any):
    with pytest.raises(BuildFailed, match=r"ran out of memory.*batch of 4, 64 x 64.*batch_size smaller"):
        draw(faulty("small", ["a fox"], on_oom="stop"), silent)


def test_a_lost_device_ends_the_process_and_leaves_the_reason_for_the_next(faulty: Any, tmp_path: Path):
    asked = faulty("asserting", ["a fox", "an assert"])
    with pytest.raises(DeviceLost, match="device-side assert"):
        draw(asked, silent, run="a")
    (crash,) = InFlight(tmp_path, "a", [one.key for one in asked.drawings]).crashes()
    assert crash.keys == tuple(one.key for one in asked.drawings)
    assert crash.reason == "RuntimeError: CUDA error: device-side assert triggered"


def test_a_row_that_ends_every_process_is_isolated_and_set_aside_after_three(faulty: Any):
    asked = faulty("asserting", ["a fox", "an assert", "a ring", "a star", "a cat"])
    for _ in range(3):
        with pytest.raises(DeviceLost):
            draw(asked, silent, run="a")
    told: list[dict[str, Any]] = []
    report = draw(asked, told.append, run="a")
    assert {key: failure.attempts for key, failure in report.failed.items()} == {asked.drawings[1].key: 3}
    assert (
        "3 worker processes ended while it was generated: RuntimeError: CUDA error"
        in report.failed[asked.drawings[1].key].reason
    )
    assert batch_sizes(asked) == [4] * 4
    assert told[1]["kind"] == "worker_lost"
    # After the first process the suspects were generated alone, so that the others were not held up again.
    tried = [len(set(prompts)) for prompts in resident_pipeline(asked.spec, silent).calls]
    assert tried == [4, 1, 1, 1, 1, 1, 1]


def test_a_device_that_fails_whatever_the_row_fails_the_build_and_blames_no_row(faulty: Any):
    asked = faulty("asserting", [f"assert {number}" for number in range(4)])
    for _ in range(7):
        with pytest.raises(DeviceLost):
            draw(asked, silent, run="a")
    with pytest.raises(BuildFailed, match="whatever the row"):
        draw(asked, silent, run="a")


def test_a_build_that_was_killed_blames_no_row_for_it(faulty: Any):
    asked = faulty("asserting", ["a fox", "a kite"])
    leave_notes(asked, "the build before", [asked.drawings[0].key])
    report = draw(asked, silent, run="this build")
    assert (report.generated, report.failed) == (2, {})


def test_processes_that_end_while_they_load_the_model_fail_the_build(faulty: Any):
    asked = faulty("asserting", ["a fox"])
    leave_notes(asked, "a", [])
    with pytest.raises(BuildFailed, match=r"3 worker processes ended while they loaded .* out of host memory"):
        draw(asked, silent, run="a")


def leave_notes(asked: Job, run: str, keys: list[str]) -> None:
    """As three processes leave them that are killed while they draw these images."""
    in_flight = InFlight(Path(asked.staging), run, [one.key for one in asked.drawings])
    for _ in range(3):
        with in_flight.mark(keys):
            in_flight.abandon(KILLED)
    assert len(in_flight.crashes()) == 3
