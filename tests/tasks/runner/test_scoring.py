"""Scoring jobs run on the cluster's workers; one that dies, hangs or loses its device costs no score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.utilities.annotations import quote

from imagemill.data.scores.records import ScoreReport
from imagemill.models.score_job import ScoreJob
from imagemill.tasks.progress import Progress
from imagemill.tasks.runner.dispatch import gpu_runner, wait_for_worker
from imagemill.tasks.runner.gpu_task_runner import GpuTaskRunner
from imagemill.tasks.score import score
from tests.conftest import wait_until
from tests.models.score_jobs import make_job, noise, request, scorers, stage, written
from tests.models.tiny.scorers import save_scorer

TEXTS = ["a fox", "a kite", "once hang", "a ring", "a cat", "once assert", "a star", "always kill"]


def run(job: ScoreJob, address: str, progress: Progress) -> ScoreReport:
    """Score the job in a flow, as a shard of a build does."""

    @flow(task_runner=GpuTaskRunner(address=address), persist_result=False, validate_parameters=False)
    def scoring(job: ScoreJob) -> ScoreReport:
        gpu_runner().listener = progress.on_event
        wait_for_worker(job)
        report: ScoreReport = score(quote(job), "score 1/1")
        progress.scores_done(report)
        return report

    report: ScoreReport = scoring(job)
    return report


@pytest.fixture(scope="module")
def disturbed(server: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A job whose texts hang, break or kill their worker once, or always kill it; and its second run."""
    from benchmarks.shared_cluster import shared_cluster

    folder = tmp_path_factory.mktemp("disturbed")
    clip = save_scorer("clip", folder)
    spec = scorers(fits={"kind": "similarity", "model": str(clip), "batch_size": 4})["fits"]
    refs = stage(folder / "staged", [noise(number) for number in range(len(TEXTS))])
    asked = [request(spec, ref, text) for ref, text in zip(refs, TEXTS, strict=True)]
    job = make_job(folder, (spec, asked), batch_timeout=3.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMAGEMILL_SCORER", "tests.models.faulty_scorers:deadly")
        patch.setenv("IMAGEMILL_FAULTS", str(folder))
        with shared_cluster(2) as address:
            first = run(job, address, Progress())
            second = run(job, address, Progress())
    return {"first": first, "second": second, "job": job, "asked": asked}


def test_every_image_is_scored_once_whatever_happens_to_the_workers(disturbed: dict[str, Any]):
    scores = written(disturbed["job"])
    assert set(scores) == {one.id for one in disturbed["asked"][:-1]}
    assert all(found.score is not None for found in scores.values())


def test_a_text_that_kills_every_worker_fails_with_its_reason(disturbed: dict[str, Any]):
    [(key, failure)] = disturbed["first"].failed.items()
    assert key == disturbed["asked"][-1].id
    assert failure.reason == "3 worker processes ended while it was scored: killed, or out of host memory"


def test_a_job_that_is_run_again_computes_nothing(disturbed: dict[str, Any]):
    second = disturbed["second"]
    assert (second.scored, second.reused, second.loads) == (0, len(TEXTS) - 1, ())


def test_progress_counts_scores_loads_and_workers(server: str, cluster: str, tmp_path: Path):
    spec = scorers(fits={"kind": "similarity", "model": str(save_scorer("clip", tmp_path)), "batch_size": 2})["fits"]
    refs = stage(tmp_path / "staged", [noise(number) for number in range(5)])
    job, progress = make_job(tmp_path, (spec, [request(spec, ref, "a fox") for ref in refs])), Progress()
    report = run(job, cluster, progress)
    assert (report.scored, progress.scored) == (5, 5)
    assert [load["model"] for load in progress.model_loads] == ["clip"]
    assert [*progress.workers] == [report.worker]
    wait_until(lambda: progress.seen_scored == 5, "the workers' events")
