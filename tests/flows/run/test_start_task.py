"""A task waits for an unreachable server before it starts, and the run continues."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import wait_until
from tests.tasks.machine import PROJECT, Machine

RUN = """
import sys, time
from pathlib import Path
from prefect import flow, tags, task
from imagemill.flows.run.start_task import begin

ready, go = Path(sys.argv[1]), Path(sys.argv[2])

@task
def work(number):
    if number < 0:
        raise ValueError("bad number")
    return number + 1

@flow
def build():
    ready.touch()
    while not go.exists():
        time.sleep(0.02)
    with tags("dataset:small"):
        print("result", begin(work, 1), flush=True)
        try:
            begin(work, -1)
        except ValueError as error:
            print("raised", error, flush=True)

build()
"""


@pytest.fixture
def machine(tmp_path: Path, empty_home: Path) -> Iterator[Machine]:
    """A server that the test stops and starts."""
    machine = Machine(shutil.copytree(empty_home, tmp_path / "home"))
    try:
        machine.start_server()
        yield machine
    finally:
        machine.stop()


def test_a_task_started_while_the_server_is_down_runs_once_it_is_back(machine: Machine, tmp_path: Path):
    ready, go, log = tmp_path / "ready", tmp_path / "go", tmp_path / "log"
    command = [sys.executable, "-c", RUN, str(ready), str(go)]
    with log.open("wb") as output:
        run = subprocess.Popen(command, stdout=output, stderr=output, cwd=PROJECT, env=machine.environment)
    try:
        wait_until(ready.exists, "the flow to run")
        machine.stop_server()
        go.touch()
        waits = "server is unreachable"
        wait_until(lambda: waits in log.read_text() or run.poll() is not None, "the task that cannot start")
        assert run.poll() is None, log.read_text()
        machine.start_server()
        assert run.wait(300) == 0, log.read_text()
    finally:
        run.kill()
        run.wait()
    assert "result 2\n" in log.read_text()
    assert "raised bad number\n" in log.read_text()
