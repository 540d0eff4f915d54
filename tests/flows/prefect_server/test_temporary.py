"""Builds without PREFECT_API_URL start a temporary server, which ends with them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from tests.conftest import command_of, wait_until
from tests.tasks.machine import PROJECT, Machine

pytestmark = pytest.mark.slow


@pytest.fixture
def build(fields: dict, cluster: str, empty_home: Path, tmp_path: Path) -> Iterator[subprocess.Popen]:
    """`imagemill build` without a server's address, once it has locked its folder."""
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(fields))
    home = shutil.copytree(empty_home, tmp_path / "home")
    environment = {**os.environ, "PREFECT_HOME": str(home), "PYTHONPATH": str(PROJECT)}
    environment.pop("PREFECT_API_URL", None)
    command = [
        sys.executable,
        "-c",
        "from imagemill.flows.cli.app import main; main()",
        "build",
        str(tmp_path / "recipe.yaml"),
    ]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([*command, "--cluster", cluster], env=environment, stdout=log, stderr=log)
    try:
        lock = Path(fields["output"]) / ".imagemill" / "lock"
        wait_until(lambda: lock.exists() or process.poll() is not None, "the build")
        assert process.poll() is None, (tmp_path / "log").read_text()
        yield process
    finally:
        process.kill()
        process.wait()


def test_the_server_of_a_killed_build_ends_too_and_its_run_is_kept_in_prefect_home(
    build: subprocess.Popen, tmp_path: Path
):
    started = psutil.Process(build.pid).children(recursive=True)
    assert any("uvicorn" in command_of(process) for process in started)
    build.kill()
    build.wait()
    wait_until(lambda: not any(process.is_running() for process in started), "its child processes to end")
    machine = Machine(tmp_path / "home")
    try:
        machine.start_server()
        (run,) = machine.ask("/flow_runs/filter", {})
        assert run["name"] == "small, run 1"
    finally:
        machine.stop()
