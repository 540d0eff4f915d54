"""A run that has ended stays as it ended: 130 s later, longer than the 90 s in which heartbeats are expected."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import wait_until
from tests.flows.run.conftest import InTheMiddle, recipe_in
from tests.tasks.machine import Machine

pytestmark = pytest.mark.long

SECONDS = 130.0
OUTAGE_SECONDS = 25.0

Ends = dict[str, list[str]]


@pytest.fixture(scope="module")
def ends(machine: Machine, in_the_middle: InTheMiddle, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Ends:
    """How runs came about that have ended -> the names of their states, 130 s after the last of them ended."""
    folder = tmp_path_factory.mktemp("ends")
    runs: dict[str, list[str]] = {}

    def recipe(name: str) -> dict[str, Any]:
        return recipe_in(folder / name, model) | {"name": name}

    runs["a bad recipe"] = [machine.run({"name": "bad", "prompts": str(folder / "none.jsonl")})]
    machine.wait_for(*runs["a bad recipe"], "Failed")
    with every_minute(machine, recipe("nightly")) as nightly:
        runs["a good build"] = [machine.run(recipe("good"))]
        machine.wait_for(*runs["a good build"], "Completed")
        wait_until(lambda: len(nightly("COMPLETED")) >= 2, "two nights")
    runs["a schedule"] = nightly("COMPLETED")

    with in_the_middle(recipe("outlived")) as run:
        machine.stop_server(signal.SIGKILL)
        time.sleep(OUTAGE_SECONDS)
        machine.start_server()
    machine.wait_for(run, "Completed")
    runs["a build beside a killed server"] = [run]

    with in_the_middle(recipe("cancelled")) as run:
        machine.cancel(run)
        machine.wait_for(run, "Cancelled")
    runs["a cancelled build"] = [run]

    with in_the_middle(recipe("cancelled-late")) as run:
        machine.stop_server(signal.SIGKILL)
        time.sleep(OUTAGE_SECONDS)
        machine.start_server()
        machine.cancel(run)
        machine.wait_for(run, "Cancelled")
    runs["a build cancelled after an outage"] = [run]

    with in_the_middle(recipe("orphan")) as run:
        orphans = machine.flow_processes()
        machine.stop_worker()
        machine.start_worker()
        machine.cancel(run)
        psutil.wait_procs(orphans, 120)
    runs["a build cancelled after its worker was replaced"] = [run]

    time.sleep(SECONDS)
    return {kind: [machine.state(run)["name"] for run in ended] for kind, ended in runs.items()}


@contextmanager
def every_minute(machine: Machine, fields: dict[str, Any]) -> Iterator[Callable[[str], list[str]]]:
    """The nightly deployment, every minute with these fields; yields what lists its runs of a type of state."""
    deployment = machine.deployment("nightly")
    schedule = {"schedule": {"cron": "* * * * *"}, "active": True, "parameters": {"recipe": fields}}
    (made,) = machine.ask(f"/deployments/{deployment}/schedules", [schedule])

    def runs(kind: str) -> list[str]:
        states = {"state": {"type": {"any_": [kind]}}}
        found = machine.ask("/flow_runs/filter", {"flow_runs": states, "deployments": {"id": {"any_": [deployment]}}})
        return [run["id"] for run in found]

    try:
        yield runs
    finally:
        machine.delete(f"/deployments/{deployment}/schedules/{made['id']}")


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        ("a bad recipe", "Failed"),
        ("a good build", "Completed"),
        ("a schedule", "Completed"),
        ("a build beside a killed server", "Completed"),
        ("a cancelled build", "Cancelled"),
        ("a build cancelled after an outage", "Cancelled"),
        ("a build cancelled after its worker was replaced", "Cancelled"),
    ],
)
def test_a_run_stays_as_it_ended(ends: Ends, kind: str, state: str):
    assert set(ends[kind]) == {state}
