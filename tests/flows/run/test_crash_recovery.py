"""Crashed runs restart without intervention: a real server, a real worker, real SIGKILLs."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest

from imagemill.data.dataset.attempts import MAX_ATTEMPTS, record_attempt
from imagemill.data.dataset.folder import Folder
from imagemill.flows.prefect_server.automations import COMING_BACK, MAX_CRASHES
from tests.conftest import small_fields, wait_until, write_prompts
from tests.tasks.machine import Machine

pytestmark = pytest.mark.slow

PROMPTS = [f"number {number}" for number in range(16)]


@pytest.fixture(scope="module")
def hold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Workers wait while this file exists."""
    return tmp_path_factory.mktemp("held") / "hold"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, empty_home: Path, hold: Path) -> Iterator[Machine]:
    """A server that setup-prefect has set up, and a worker whose builds share one cluster."""
    from benchmarks.shared_cluster import shared_cluster

    home = shutil.copytree(empty_home, tmp_path_factory.mktemp("machine"), dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("IMAGEMILL_PIPELINE", "tests.models.held:held")
        patch.setenv("IMAGEMILL_HOLD", str(hold))
        cluster = stack.enter_context(shared_cluster(workers=1))
        patch.undo()
        machine = Machine(home, IMAGEMILL_CLUSTER=cluster, PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY="PT1S")
        stack.callback(machine.stop)
        machine.start_server()
        machine.set_up()
        machine.start_worker()
        yield machine


@pytest.fixture
def recipe(tmp_path: Path, model: Path) -> dict[str, Any]:
    """A recipe of 16 images in four shards, about a second each."""
    return recipe_in(tmp_path, model)


def recipe_in(folder: Path, model: Path) -> dict[str, Any]:
    fields = small_fields(folder, model) | {"edit": None, "shard_size": 4, "checks": {"blank": False}}
    write_prompts(folder / "prompts.jsonl", PROMPTS)
    return fields


@pytest.fixture(scope="module")
def undisturbed(machine: Machine, model: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The fingerprint of that recipe's dataset, built without a crash."""
    return machine.build(recipe_in(tmp_path_factory.mktemp("undisturbed"), model))["fingerprint"]


@contextmanager
def in_the_middle(machine: Machine, fields: dict[str, Any], hold: Path) -> Iterator[str]:
    """A run that has committed a file and has more to generate, and waits inside the block."""
    run = machine.run(fields)
    wait_until(lambda: list(Path(fields["output"]).glob("data/*.parquet")), "a committed file")
    hold.touch()
    try:
        yield run
    finally:
        hold.unlink()


def fingerprint(fields: dict[str, Any]) -> str:
    return json.loads((Path(fields["output"]) / "manifest.json").read_text())["fingerprint"]


def test_a_killed_build_is_completed_across_a_restart_of_the_server(
    machine: Machine, recipe: dict, undisturbed: str, hold: Path
):
    with in_the_middle(machine, recipe, hold) as run:
        machine.flow_processes()[0].kill()
        wait_until(lambda: machine.ask(f"/flow_runs/{run}")["run_count"] == 2, "its second attempt")
        machine.stop_server()
        machine.start_server()
    machine.wait_for(run, "Completed")
    assert fingerprint(recipe) == undisturbed


def test_a_cancelled_build_ends_with_its_workers_and_can_be_resumed(
    machine: Machine, recipe: dict, undisturbed: str, hold: Path
):
    with in_the_middle(machine, recipe, hold) as run:
        processes = machine.flow_processes()
        # As the dashboard's button does.
        machine.ask(f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})
        machine.wait_for(run, "Cancelled")
        wait_until(lambda: not any(process.is_running() for process in processes), "its processes to end")
    assert not (Path(recipe["output"]) / "manifest.json").exists()
    figures = machine.build(recipe)
    assert figures["generated"] < len(PROMPTS)
    assert figures["fingerprint"] == undisturbed


def test_a_build_that_crashes_repeatedly_without_progress_gives_up_with_the_reason(machine: Machine, recipe: dict):
    worker = machine.processes["worker"]
    worker.send_signal(signal.SIGSTOP)
    run, folder = machine.run(recipe), Folder(recipe["output"])
    with folder.lock(recipe["name"]):
        for _ in range(MAX_ATTEMPTS):
            record_attempt(folder, run)
    worker.send_signal(signal.SIGCONT)
    machine.wait_for(run, "GaveUp")
    assert "crashed 3 times in a row" in machine.state(run)["message"]
    wait_until(lambda: not machine.flow_processes(), "its process to end")
    assert machine.state(run)["name"] == "GaveUp"


def test_a_build_killed_with_its_worker_is_completed_when_a_worker_starts(
    machine: Machine, recipe: dict, undisturbed: str, hold: Path
):
    # Less than the 30 s between two heartbeats, which is enough for a build that is dead.
    machine.set_up_automations(silent_seconds=10)
    with in_the_middle(machine, recipe, hold) as run:
        files = list(Path(recipe["output"]).glob("data/*.parquet"))
        wait_until(lambda: len(written(machine, run)) >= len(files), "the server to know of it")
        processes = [*machine.flow_processes(), psutil.Process(machine.processes["worker"].pid)]
        for process in reversed(processes):
            process.kill()
    wait_until(lambda: machine.state(run)["name"] == "AwaitingRetry", "the run to be seen as crashed")
    machine.set_up_automations(silent_seconds=90)
    # As a service manager does.
    machine.start_worker()
    machine.wait_for(run, "Completed")
    assert fingerprint(recipe) == undisturbed
    # The second attempt goes on counting.
    names = ["write 1/4", "write 2/4", "write 3/4", "write 4/4"]
    wait_until(lambda: len(written(machine, run)) >= len(names), "the server to know of all shards")
    assert written(machine, run) == names


def written(machine: Machine, run: str) -> list[str]:
    """Names of the run's task runs that have written a shard, as far as the server knows of them."""
    completed = {"name": {"like_": "write "}, "state": {"type": {"any_": ["COMPLETED"]}}}
    body = {"flow_runs": {"id": {"any_": [run]}}, "task_runs": completed}
    return sorted(task["name"] for task in machine.ask("/task_runs/filter", body))


@pytest.fixture
def without_a_worker(machine: Machine) -> Iterator[None]:
    machine.stop_worker()
    yield
    machine.start_worker()


@pytest.mark.usefixtures("without_a_worker")
def test_a_build_that_crashes_before_it_can_count_its_attempts_gives_up(machine: Machine, recipe: dict):
    run = machine.run(recipe)
    for _ in range(MAX_CRASHES):
        machine.set_state(run, "CRASHED", COMING_BACK)
    machine.wait_for(run, "GaveUp")
    assert "It crashed 10 times in 10 minutes" in machine.state(run)["message"]


@pytest.mark.usefixtures("without_a_worker")
def test_builds_of_a_machine_that_was_off_for_an_hour_restart(machine: Machine, recipe: dict):
    running, pending = machine.run(recipe), machine.run(recipe)
    machine.set_state(running, "RUNNING")
    machine.emit(heartbeat(running))
    machine.set_state(pending, "PENDING")
    database = sqlite3.connect(machine.home / "prefect.db", isolation_level=None)
    known = "select count(distinct bucketing_key) from automation_bucket where instr(?, substr(bucketing_key, -38, 36))"
    both = (running + pending,)
    wait_until(lambda: database.execute(known, both).fetchone()[0] == 2, "the server to expect something of both")
    machine.stop_server(signal.SIGKILL)
    for table, column in (
        ("automation_bucket", "start"),
        ("automation_bucket", "end"),
        ("flow_run_state", "timestamp"),
    ):
        earlier = f"""datetime("{column}", '-1 hour') || substr("{column}", 20)"""
        database.execute(f'update {table} set "{column}" = {earlier}')
    database.close()
    machine.start_server()
    for run in (running, pending):
        machine.wait_for(run, "AwaitingRetry")
        machine.set_state(run, "CANCELLED")


def heartbeat(run: str) -> dict[str, Any]:
    """The event that a build sends every 30 s."""
    return {
        "id": str(uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": "prefect.flow-run.heartbeat",
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run}"},
        "related": [
            {"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"}
            for tag in ("imagemill", "build")
        ],
    }
