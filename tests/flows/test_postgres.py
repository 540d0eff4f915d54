"""A Prefect server on a real PostgreSQL, behind a password; skipped where PostgreSQL's programs are not installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import free_port, wait_until
from tests.flows.machine import Machine

pytestmark = pytest.mark.slow

PASSWORD = "admin:a-long-password"


def program(name: str) -> str | None:
    """A program of PostgreSQL, which Debian keeps off the path."""
    return shutil.which(name) or next((str(path) for path in Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), None)


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """The connection URL of an empty database of a PostgreSQL that is started for it."""
    if program("initdb") is None:
        pytest.skip("needs PostgreSQL (Debian: apt-get install postgresql)")
    # It refuses to run as root.
    who: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    folder, port = Path(tempfile.mkdtemp(prefix="postgres-")), free_port()
    if who:
        shutil.chown(folder, "postgres", "postgres")
    at = ["-h", "127.0.0.1", "-p", str(port), "-U", "prefect"]
    try:
        data = str(folder / "data")
        initdb = [program("initdb"), "-D", data, "-U", "prefect", "-A", "trust", "--no-sync"]
        subprocess.run(initdb, check=True, capture_output=True, cwd=folder, **who)
        command = [program("postgres"), "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", str(folder)]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **who)
        try:
            ready = [program("pg_isready"), *at]
            wait_until(lambda: subprocess.run(ready, capture_output=True, check=False).returncode == 0, "PostgreSQL")
            subprocess.run([program("createdb"), *at, "prefect"], check=True, capture_output=True)
            yield f"postgresql+asyncpg://prefect@127.0.0.1:{port}/prefect"
        finally:
            process.terminate()
            process.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def machine(database: str, cluster: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(
        tmp_path_factory.mktemp("team"),
        PREFECT_SERVER_DATABASE_CONNECTION_URL=database,
        PREFECT_SERVER_API_AUTH_STRING=PASSWORD,
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
    wait_until(lambda: machine.ask("/flow_runs/filter", scheduled), "runs of the schedules", 30)


def test_a_wrong_password_is_one_clear_message(machine: Machine):
    with pytest.raises(AssertionError) as refused:
        Machine.set_up(_with_password(machine, "admin:wrong"))
    assert "refuses to be used (HTTP 401): set PREFECT_API_AUTH_STRING" in str(refused.value)
    assert "Traceback" not in str(refused.value)


def _with_password(machine: Machine, password: str) -> Machine:
    other = object.__new__(Machine)
    other.environment = {**machine.environment, "PREFECT_API_AUTH_STRING": password}
    return other
