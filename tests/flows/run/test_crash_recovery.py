"""Crashed runs restart without intervention: a real server, a real worker, real SIGKILLs."""

from __future__ import annotations

import json
import signal
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest

from imagemill.data.dataset.attempts import MAX_ATTEMPTS, record_attempt
from imagemill.data.dataset.folder import Folder
from imagemill.flows.prefect_server.automations import BUILD_TAG, MAX_CRASHES
from tests.conftest import wait_until
from tests.flows.run.conftest import PROMPTS, InTheMiddle
from tests.tasks.machine import Machine

pytestmark = pytest.mark.slow


def fingerprint(fields: dict[str, Any]) -> str:
    return json.loads((Path(fields["output"]) / "manifest.json").read_text())["fingerprint"]


def test_a_killed_build_is_completed_across_a_restart_of_the_server(
    machine: Machine, recipe: dict, undisturbed: str, in_the_middle: InTheMiddle
):
    with in_the_middle(recipe) as run:
        machine.flow_processes()[0].kill()
        wait_until(lambda: machine.ask(f"/flow_runs/{run}")["run_count"] == 2, "its second attempt")
        machine.stop_server()
        machine.start_server()
    machine.wait_for(run, "Completed")
    assert fingerprint(recipe) == undisturbed


def test_a_cancelled_build_ends_with_its_workers_and_can_be_resumed(
    machine: Machine, recipe: dict, undisturbed: str, in_the_middle: InTheMiddle
):
    with in_the_middle(recipe) as run:
        processes = machine.flow_processes()
        machine.cancel(run)
        machine.wait_for(run, "Cancelled")
        wait_until(lambda: not any(process.is_running() for process in processes), "its processes to end")
    assert not (Path(recipe["output"]) / "manifest.json").exists()
    figures = machine.build(recipe)
    assert figures["generated"] < len(PROMPTS)
    assert figures["fingerprint"] == undisturbed


def test_a_build_whose_run_is_deleted_ends(machine: Machine, recipe: dict, in_the_middle: InTheMiddle):
    with in_the_middle(recipe) as run:
        processes = machine.flow_processes()
        machine.delete(f"/flow_runs/{run}")
        wait_until(lambda: not any(process.is_running() for process in processes), "its processes to end")
    assert json.loads((Path(recipe["output"]) / "runs.jsonl").read_text().splitlines()[-1])["status"] == "cancelled"


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
    machine: Machine, recipe: dict, undisturbed: str, in_the_middle: InTheMiddle
):
    # Less than the 30 s between two heartbeats, which is enough for a build that is dead.
    machine.set_up_automations(silent_seconds=10)
    with in_the_middle(recipe) as run:
        files = Path(recipe["output"]) / "data"
        wait_until(lambda: len(written(machine, run)) == len(list(files.glob("*.parquet"))), "the server to know of it")
        first = written(machine, run)
        processes = [*machine.flow_processes(), psutil.Process(machine.processes["worker"].pid)]
        for process in reversed(processes):
            process.kill()
    wait_until(lambda: machine.state(run)["name"] == "AwaitingRetry", "the run to be seen as crashed")
    machine.set_up_automations(silent_seconds=90)
    # As a service manager does.
    machine.start_worker()
    machine.wait_for(run, "Completed")
    assert fingerprint(recipe) == undisturbed
    # The second attempt goes on counting. Shards need not end in order: the first to end may be "2/4".
    names = sorted(first + [f"write {number}/4" for number in range(len(first) + 1, 5)])
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
        machine.set_state(run, "SCHEDULED", "AwaitingRetry")
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


@pytest.mark.usefixtures("without_a_worker")
def test_a_heartbeat_that_is_delivered_after_the_end_of_a_run_leaves_it_as_it_ended(machine: Machine, recipe: dict):
    machine.set_up_automations(silent_seconds=10)
    ends = {machine.run(recipe): end for end in ("COMPLETED", "FAILED", "CANCELLED")}
    for run, end in ends.items():
        machine.set_state(run, "RUNNING")
        machine.set_state(run, end)
        machine.emit(heartbeat(run))
    for run in ends:
        wait_until(lambda run=run: machine.events("prefect.automation.action.failed", run), "the server's refusal")
    machine.set_up_automations(silent_seconds=90)
    assert {run: machine.state(run)["type"] for run in ends} == ends


@pytest.mark.usefixtures("without_a_worker")
def test_crashed_runs_of_other_projects_stay_crashed(machine: Machine, recipe: dict):
    others = [machine.run_of_another("ci", tags) for tags in (["build"], ["imagemill"], ["imagemill", "build"])]
    ours = machine.run(recipe)
    for run in (*others, ours):
        machine.set_state(run, "CRASHED")
    machine.wait_for(ours, "AwaitingRetry")
    assert {machine.state(run)["name"] for run in others} == {"Crashed"}
    machine.set_state(ours, "CANCELLED")


@pytest.mark.usefixtures("without_a_worker")
def test_a_queued_build_is_named_for_its_dataset_unless_its_user_named_it(machine: Machine, recipe: dict):
    run, named = machine.run(recipe), machine.run(recipe, name="my-own name")
    wait_until(lambda: machine.ask(f"/flow_runs/{run}")["name"] == f"{recipe['name']}, queued", "its name")
    assert machine.ask(f"/flow_runs/{named}")["name"] == "my-own name"
    for waiting in (run, named):
        machine.set_state(waiting, "CANCELLED")


def heartbeat(run: str) -> dict[str, Any]:
    """The event that a build sends every 30 s."""
    return {
        "id": str(uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": "prefect.flow-run.heartbeat",
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run}"},
        "related": [{"prefect.resource.id": f"prefect.tag.{BUILD_TAG}", "prefect.resource.role": "tag"}],
    }
