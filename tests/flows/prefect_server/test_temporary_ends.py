"""A build's processes end with it, at whichever moment it is killed; a build that succeeds prints no traceback."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import wait_until
from tests.flows.prefect_server.own_builds import OwnBuild


def kill(process: subprocess.Popen[str], group: bool) -> None:
    """Kill a build alone, or with its process group as a terminal or a batch system does."""
    if group:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.communicate()


@pytest.mark.parametrize("group", [False, True])
def test_the_server_of_a_build_that_is_killed_while_the_server_imports_ends_too(
    group: bool, tmp_path: Path, model: Path, cluster: str, empty_home: Path
):
    build = OwnBuild(tmp_path / "home", model, empty_home)
    process = build.start("--cluster", cluster)
    server = wait_until(build.server, "the server")
    kill(process, group)
    wait_until(lambda: not server.is_running(), "the server to end", 30)


@pytest.mark.long
@pytest.mark.parametrize("group", [False, True])
def test_nothing_of_a_build_runs_on_at_whichever_moment_it_is_killed(
    group: bool, tmp_path: Path, model: Path, empty_home: Path
):
    """Every 100 ms of a build's first 15 s, alternating between both ways of killing."""
    for tenths in range(1 + group, 151, 2):
        build = OwnBuild(tmp_path / "home", model, empty_home)
        process = build.start(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # The moment is what is tested: there is no event to wait for.
        time.sleep(tenths / 10)
        kill(process, group)
        wait_until(lambda: not build.processes(), f"all processes of a build killed after {tenths / 10} s to end", 30)  # noqa: B023
        shutil.rmtree(build.folder)


@pytest.fixture
def load() -> Iterator[None]:
    """Ten other processes that compete for the machine."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(10)]
    yield
    for process in busy:
        process.kill()
        process.wait()


@pytest.mark.long
def test_fifty_builds_beside_ten_busy_processes_print_no_traceback(
    load: None, tmp_path: Path, model: Path, cluster: str, empty_home: Path
):
    for number in range(50):
        build = OwnBuild(tmp_path / str(number), model, empty_home)
        process = build.start("--cluster", cluster)
        out, errors = process.communicate()
        assert (process.returncode, errors) == (0, ""), out
        assert build.runs() == [("small, run 1", "Completed")]
        assert not build.processes()
