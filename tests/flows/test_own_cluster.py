"""The cluster that a build starts for itself on a machine without a GPU: where its worker processes come from."""

from __future__ import annotations

import os
import sys
from typing import Any

import psutil
import pytest
from distributed import Client

from tasks.cluster import cores, start_cluster
from tasks.fork_server import can_fork
from tests.conftest import Build

pytestmark = pytest.mark.skipif(not can_fork([]), reason="workers are forked on Linux only")


def about() -> dict[str, Any]:
    """What a worker process is, as it sees itself."""
    parent = psutil.Process().parent()
    return {
        "parent": parent.pid,
        "grandparent": parent.ppid(),
        "has imported": "diffusers" in sys.modules,
        "night": os.environ.get("NIGHT"),
    }


def test_workers_are_forked_from_one_process_that_has_imported_what_models_need(monkeypatch: pytest.MonkeyPatch):
    with start_cluster(1, []):
        pass
    # Set after the process was started that they are forked from.
    monkeypatch.setenv("NIGHT", "12")
    with start_cluster(2, []) as cluster, cluster.get_client() as client:
        first, second = client.run(about).values()
    assert first == second
    assert (first["grandparent"], first["has imported"], first["night"]) == (os.getpid(), True, "12")


def test_a_forked_worker_computes_with_its_share_of_the_cores(build: Build, fields: dict[str, Any], cluster: str):
    build(fields)
    with Client(cluster, set_as_default=False) as client:
        # Of the thread that draws: each has a number of its own.
        shares = [
            client.submit(lambda: sys.modules["torch"].get_num_threads(), workers=[worker], pure=False).result()
            for worker in client.scheduler_info()["workers"]
        ]
    assert shares == [max(1, cores() // 2)] * 2
