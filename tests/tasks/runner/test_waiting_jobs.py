"""A task run that is Running has a worker: the shards that wait for one have no task run yet."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from distributed import Client

from benchmarks.shared_cluster import shared_cluster
from imagemill.data.config.load import load_recipe
from tests.commands import Ask
from tests.conftest import small_fields, wait_until


@pytest.fixture
def held_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """The address of a cluster of one worker, which generates nothing while the file exists."""
    hold = tmp_path / "hold"
    hold.touch()
    monkeypatch.setenv("IMAGEMILL_PIPELINE", "tests.models.held:held")
    monkeypatch.setenv("IMAGEMILL_HOLD", str(hold))
    with shared_cluster(workers=1) as address:
        yield address, hold


def jobs_of(client: Client) -> int:
    """Number of jobs that the scheduler has."""
    return client.run_on_scheduler(
        lambda dask_scheduler: sum(key.startswith("draw_on_worker") for key in dask_scheduler.tasks)
    )


def test_a_shard_that_waits_for_a_worker_has_no_task_run_that_is_running(
    server: str, ask: Ask, model: Path, tmp_path: Path, held_worker: tuple[str, Path]
):
    from imagemill.flows.build_dataset import build_dataset
    from imagemill.tasks.runner.gpu_task_runner import GpuTaskRunner

    address, hold = held_worker
    of_run = {"flow_runs": {"name": {"any_": ["waiting, run 1"]}}, "task_runs": {"name": {"like_": "generate "}}}
    fields = small_fields(tmp_path, model) | {"edit": None, "shard_size": 1, "name": "waiting"}
    build = build_dataset.with_options(task_runner=GpuTaskRunner(address=address, shards=3))
    with ThreadPoolExecutor(1) as threads, Client(address, set_as_default=False) as client:
        try:
            figures = threads.submit(build, load_recipe(fields))
            wait_until(lambda: jobs_of(client) == 3 or figures.done(), "three jobs in flight")
            wait_until(lambda: ask("/task_runs/filter", of_run) or figures.done(), "a task run")
            released = datetime.now(UTC)
        finally:
            hold.unlink()
        assert figures.result()["generated"] == 4
    ended = of_run | {"task_runs": of_run["task_runs"] | {"state": {"type": {"any_": ["COMPLETED"]}}}}
    wait_until(lambda: len(ask("/task_runs/filter", ended)) == 4, "the ends of four task runs")
    starts = [datetime.fromisoformat(task["start_time"]) for task in ask("/task_runs/filter", of_run)]
    assert sum(start < released for start in starts) == 1
