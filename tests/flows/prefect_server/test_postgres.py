"""A Prefect server on a real PostgreSQL, with a password; skipped if PostgreSQL is not installed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import Build, wait_until, write_prompts
from tests.flows.postgres import running_postgres
from tests.tasks.machine import Machine

pytestmark = pytest.mark.slow

PASSWORD = "admin:a-long-password"


@pytest.fixture(scope="module")
def machine(cluster: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with running_postgres() as database:
        machine = Machine(
            tmp_path_factory.mktemp("team"),
            PREFECT_SERVER_DATABASE_CONNECTION_URL=database,
            PREFECT_SERVER_API_AUTH_STRING=PASSWORD,
            PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY="PT1S",
            PREFECT_API_AUTH_STRING=PASSWORD,
            IMAGEMILL_CLUSTER=cluster,
        )
        try:
            machine.start_server()
            machine.set_up()
            machine.start_worker()
            yield machine
        finally:
            machine.stop()


def test_a_deployment_builds_through_a_server_on_postgresql_behind_a_password(machine: Machine, fields: dict):
    machine.wait_for(machine.run(fields), "Completed")
    assert (Path(fields["output"]) / "manifest.json").exists()
    scheduled = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    wait_until(lambda: machine.ask("/flow_runs/filter", scheduled), "runs of the schedules")


def test_a_build_that_is_killed_with_its_worker_comes_back(
    build: Build, machine: Machine, fields: dict, tmp_path: Path
):
    write_prompts(Path(fields["prompts"]), [f"number {number}" for number in range(16)])
    fields = fields | {"edit": None}
    undisturbed = build(fields, {"output": str(tmp_path / "undisturbed")})["fingerprint"]
    # Less than the 30 s between two heartbeats, which is enough for a build that is dead.
    machine.set_up_automations(silent_seconds=10)
    run, output = machine.run(fields), Path(fields["output"])
    wait_until(lambda: list(output.glob("data/*.parquet")), "a committed file")
    processes = [*machine.flow_processes(), psutil.Process(machine.processes["worker"].pid)]
    # The worker first, since it would report the crash.
    for process in reversed(processes):
        process.kill()
    assert not (output / "manifest.json").exists()
    wait_until(lambda: machine.state(run)["name"] == "AwaitingRetry", "the run to be seen as crashed")
    machine.set_up_automations(silent_seconds=90)
    machine.start_worker()
    machine.wait_for(run, "Completed")
    assert json.loads((output / "manifest.json").read_text())["fingerprint"] == undisturbed


def test_a_wrong_password_is_one_clear_message(machine: Machine):
    with pytest.raises(AssertionError) as refused:
        Machine.set_up(_with_password(machine, "admin:wrong"))
    assert "denies access (HTTP 401): set PREFECT_API_AUTH_STRING" in str(refused.value)
    assert "Traceback" not in str(refused.value)


def _with_password(machine: Machine, password: str) -> Machine:
    other = object.__new__(Machine)
    other.environment = {**machine.environment, "PREFECT_API_AUTH_STRING": password}
    return other
