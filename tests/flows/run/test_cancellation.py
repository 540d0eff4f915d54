"""Cancelled builds end within a bounded time."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from distributed import Client
from prefect.client.orchestration import SyncPrefectClient, get_client

from imagemill.flows.run import cancellation
from tests.conftest import ROOT, Build, wait_until

PROJECT = ROOT


def test_a_worker_ignores_sigterm_since_its_build_ends_it(cluster: str):
    with Client(cluster, set_as_default=False) as client:
        before = client.run(os.getpid)
        # The process that they are forked from, too.
        for process in {*before.values(), *client.run(os.getppid).values()} - {os.getpid()}:
            os.kill(process, signal.SIGTERM)
        assert client.run(os.getpid) == before


@pytest.mark.slow
def test_a_cancelled_run_whose_end_hangs_ends_all_the_same_and_has_not_crashed(server: str, tmp_path: Path):
    with get_client(sync_client=True) as client:
        run = _deployed_run(client, tmp_path / "began")
        command = [sys.executable, "-m", "prefect", "flow-run", "execute", str(run)]
        with (
            (tmp_path / "log").open("wb") as log,
            subprocess.Popen(command, stdout=log, stderr=log, cwd=PROJECT) as process,
        ):
            try:
                wait_until((tmp_path / "began").exists, "the flow")
                client._client.post(f"/flow_runs/{run}/set_state", json={"state": {"type": "CANCELLING"}})
                wait_until(lambda: client.read_flow_run(run).state.is_final(), "its end")
                process.wait(300)
            finally:
                process.kill()
        states = [state.name for state in client.read_flow_run_states(run)]
        assert states[-1] == "Cancelled"
        assert "Crashed" not in states


def test_without_prefects_private_module_a_build_works_and_a_cancelled_run_counts_as_crashed(
    build: Build, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "prefect._internal.control_listener", None)
    importlib.reload(cancellation)
    assert build(fields, {"edit": None})["status"] == "complete"
    assert cancellation.has_cancel_intent() is False


def _deployed_run(client: SyncPrefectClient, began: Path) -> UUID:
    flow = client.create_flow_from_name("hanging")
    # Not by its path: Prefect would copy the whole folder, the installed packages too.
    here = {"prefect.deployments.steps.set_working_directory": {"directory": str(PROJECT)}}
    entrypoint = "tests/flows/hanging.py:hanging"
    deployment = client.create_deployment(
        flow, "hanging", entrypoint=entrypoint, pull_steps=[here], enforce_parameter_schema=False
    )
    return client.create_flow_run_from_deployment(deployment, parameters={"began": str(began)}).id
