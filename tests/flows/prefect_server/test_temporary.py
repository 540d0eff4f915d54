"""Builds without PREFECT_API_URL start a temporary server, and store their runs in PREFECT_HOME."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import wait_until
from tests.flows.prefect_server.own_builds import OwnBuild, query, run_script
from tests.tasks.machine import Machine


@pytest.mark.parametrize("times", [1, pytest.param(10, marks=pytest.mark.long)])
def test_two_builds_started_at_the_same_moment_each_store_only_their_own_run(
    times: int, tmp_path: Path, model: Path, cluster: str, empty_home: Path
):
    for number in range(times):
        builds = [OwnBuild(tmp_path / f"{name}{number}", model, empty_home) for name in "ab"]
        processes = [build.start("--cluster", cluster) for build in builds]
        for process in processes:
            out, errors = process.communicate()
            assert (process.returncode, errors) == (0, ""), out
        assert [build.runs() for build in builds] == [[("small, run 1", "Completed")]] * 2


def test_two_builds_share_a_new_prefect_home(tmp_path: Path, model: Path, cluster: str):
    builds = [OwnBuild(tmp_path / name, model) for name in "ab"]
    for build in builds:
        build.environment["PREFECT_HOME"] = str(tmp_path / "shared")
    processes = [build.start("--cluster", cluster) for build in builds]
    for process in processes:
        assert process.communicate()[1] == ""
    runs = query(tmp_path / "shared", "SELECT state_name FROM flow_run")
    assert runs == [("Completed",)] * 2


def test_the_run_of_a_killed_build_is_kept_in_prefect_home(tmp_path: Path, model: Path, cluster: str, empty_home: Path):
    build = OwnBuild(tmp_path / "home", model, empty_home)
    process = build.start("--cluster", cluster)
    lock = Path(build.fields["output"]) / ".imagemill" / "lock"
    wait_until(lambda: lock.exists() or process.poll() is not None, "the build")
    process.kill()
    process.wait()
    wait_until(lambda: not build.processes(), "its processes to end")
    machine = Machine(tmp_path / "home" / ".prefect")
    try:
        machine.start_server()
        (run,) = machine.ask("/flow_runs/filter", {})
        assert run["name"] == "small, run 1"
    finally:
        machine.stop()


def test_task_runs_and_events_are_stored_before_the_server_ends(
    tmp_path: Path, model: Path, cluster: str, empty_home: Path
):
    build = OwnBuild(tmp_path / "home", model, empty_home)
    process = build.start("--cluster", cluster)
    assert process.communicate()[1] == ""
    home = tmp_path / "home" / ".prefect"
    assert set(query(home, "SELECT state_name FROM task_run")) == {("Completed",)}
    (count,) = query(home, "SELECT count(*) FROM events WHERE event = 'imagemill.build.finished'")
    assert count == (1,)


CALLS_TWICE = """
import os, sys
from imagemill.flows.build_dataset import build_dataset
from imagemill.flows.prefect_server import temporary
from imagemill.tasks.runner.gpu_task_runner import GpuTaskRunner

before = dict(os.environ)
flow = build_dataset.with_options(task_runner=GpuTaskRunner(address=sys.argv[2]))
figures, servers = [], set()
for output in ("first", "second"):
    figures.append(flow(sys.argv[1], overrides={"output": output}))
    servers.add(temporary._server.process.pid)
assert [figure["status"] for figure in figures] == ["complete"] * 2, figures
assert len(servers) == 1, servers
assert dict(os.environ) == before
"""


def test_a_script_that_builds_twice_has_one_server_and_its_environment_is_unchanged(
    tmp_path: Path, model: Path, cluster: str, empty_home: Path
):
    build = OwnBuild(tmp_path / "home", model, empty_home)
    done = run_script(CALLS_TWICE, build.folder, "recipe.yaml", cluster)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert build.runs() == [("small, run 1", "Completed")] * 2
