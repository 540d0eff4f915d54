"""The cluster of one build on a machine without a GPU: how its worker processes start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client

from imagemill.tasks.runner.cluster import cores, start_cluster
from imagemill.tasks.runner.processes.fork_server import can_fork, start_fork_server, stop_fork_server
from tests.conftest import ROOT, Build

pytestmark = pytest.mark.skipif(not can_fork([]), reason="workers are forked on Linux only")


def about() -> dict[str, Any]:
    """Facts about a worker process."""
    parent = psutil.Process().parent()
    return {
        "parent": parent.pid,
        "grandparent": parent.ppid(),
        "has imported": "diffusers" in sys.modules,
        "night": os.environ.get("NIGHT"),
    }


def test_workers_are_forked_from_a_process_that_has_imported_the_models_libraries(monkeypatch: pytest.MonkeyPatch):
    with start_cluster(1, []):
        pass
    # Set after the start of the process that they are forked from.
    monkeypatch.setenv("NIGHT", "12")
    with start_cluster(2, []) as cluster, cluster.get_client() as client:
        first, second = client.run(about).values()
    assert first == second
    assert (first["grandparent"], first["has imported"], first["night"]) == (os.getpid(), True, "12")


def test_a_spawned_worker_keeps_its_memory_and_its_share_of_the_cores():
    with start_cluster(1, ["0"]) as cluster, cluster.get_client() as client:
        (found,) = client.run(lambda: dict(os.environ)).values()
    assert "MALLOC_TRIM_THRESHOLD_" not in found
    assert found["OMP_NUM_THREADS"] == str(cores())


def test_a_forked_worker_has_no_variable_that_the_builds_process_has_no_more(monkeypatch: pytest.MonkeyPatch):
    stop_fork_server()
    monkeypatch.setenv("NIGHT", "11")
    start_fork_server()
    monkeypatch.delenv("NIGHT")
    with start_cluster(1, []) as cluster, cluster.get_client() as client:
        (found,) = client.run(about).values()
    assert found["night"] is None


def test_a_forked_worker_computes_with_its_share_of_the_cores(build: Build, fields: dict[str, Any], cluster: str):
    build(fields)
    with Client(cluster, set_as_default=False) as client:
        # In the thread that generates, since the number is per thread.
        shares = [
            client.submit(lambda: sys.modules["torch"].get_num_threads(), workers=[worker], pure=False).result()
            for worker in client.scheduler_info()["workers"]
        ]
    assert shares == [max(1, cores() // 2)] * 2


def test_a_script_that_builds_at_top_level_builds_once(fields: dict[str, Any], server: str, tmp_path: Path):
    script = tmp_path / "build.py"
    script.write_text(
        "from imagemill.flows.build_dataset import build_dataset\n"
        f"open({str(tmp_path / 'tops')!r}, 'a').write('top ')\n"
        f"print(build_dataset({fields!r})['generated'])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert ((tmp_path / "tops").read_text(), json.loads(done.stdout)) == ("top ", 8)


BEGIN_AND_STOP = """
import psutil
from imagemill.tasks.runner.processes.fork_server import start_fork_server, stop_fork_server
from tests.conftest import command_of, wait_until

def servers():
    return [child for child in psutil.Process().children() if "forkserver" in " ".join(command_of(child))]

start_fork_server()
[server] = servers()
wait_until(lambda: server.cpu_times().user > 1, "the start of its imports")
stop_fork_server()
wait_until(lambda: server.status() == psutil.STATUS_ZOMBIE, "the end of the process")
start_fork_server()
assert servers() != [server]
"""


def test_the_imports_of_a_build_with_nothing_to_generate_are_cancelled_and_can_restart():
    done = subprocess.run([sys.executable, "-c", BEGIN_AND_STOP], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
