"""Cache of finished steps: Cached on the dashboard while its images are staged, and run again when they are not."""

from __future__ import annotations

from pathlib import Path

import pytest
from prefect import flow
from prefect.client.schemas.objects import State
from prefect.utilities.annotations import quote

from imagemill.data.config.steps import Generate
from imagemill.data.images.codec import Encoding
from imagemill.data.records import Drawing, Failure, Staged, StepReport, WorkerStats
from imagemill.data.staging.step_results import StepResults
from imagemill.data.staging.store import Staging
from imagemill.models.catalog.resolve import resolve
from imagemill.models.job import Job
from imagemill.tasks.generate import generate
from imagemill.tasks.step_cache import step_key

KEYS = [f"{number:032x}" for number in range(3)]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A job over three images, of which an earlier run has staged two, and could not generate the third."""
    (tmp_path / "staged").mkdir()
    drawings = tuple(Drawing(key, "a fox", seed=1, steps=1, width=64, height=64) for key in KEYS)
    encodings = {key: (Encoding("png"),) for key in KEYS}
    made = Job(resolve("generate", Generate()), drawings, encodings, 4, frozenset(), str(tmp_path / "staged"))
    for key in KEYS[:2]:
        Staging(tmp_path / "staged").put(b"encoded", Staged(key, "0" * 64, 64, 64, 4, "cpu"), "png")
    report = StepReport(failed={KEYS[2]: Failure("black", 2)}, stats=WorkerStats(device="cpu", generated=2))
    StepResults(tmp_path / "results").put(step_key("generate", made), report)
    return made


def state_of(job: Job, results: Path, refresh: bool = False) -> State:
    """The state in which the step's task run ends."""
    states = []

    @flow(name="one step", persist_result=False)
    def one_step() -> None:
        states.append(generate.with_options(retries=0)(quote(job), results, refresh, "1/1", return_state=True))

    one_step()
    return states[0]


def test_a_finished_step_is_cached_with_its_failures(server: str, job: Job, tmp_path: Path):
    state = state_of(job, tmp_path / "results")
    assert state.name == "Cached"
    expected = StepReport(reused=2, failed={KEYS[2]: Failure("black", 2)}, stats=WorkerStats(device="cpu"))
    assert state.result() == expected


def test_a_step_runs_again_when_an_image_is_gone_or_a_retry_is_asked_for(server: str, job: Job, tmp_path: Path):
    # This flow has no workers, so that the attempt to generate fails.
    assert state_of(job, tmp_path / "results", refresh=True).name == "Failed"
    next((tmp_path / "staged").glob("*.staged")).unlink()
    assert state_of(job, tmp_path / "results").name == "Failed"
