"""Builds that are cancelled: what bounds the time that it takes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest
from distributed import Client
from prefect.client.orchestration import SyncPrefectClient, get_client

from tests.conftest import ROOT, wait_until

PROJECT = ROOT


def test_a_worker_leaves_it_to_its_build_when_all_processes_are_told_to_end(cluster: str):
    with Client(cluster, set_as_default=False) as client:
        before = client.run(os.getpid)
        # What they are forked from, too.
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
            subprocess.Popen(command, stdout=log, stderr=log, cwd=PROJECT) as one,
        ):
            try:
                wait_until((tmp_path / "began").exists, "the flow")
                client._client.post(f"/flow_runs/{run}/set_state", json={"state": {"type": "CANCELLING"}})
                wait_until(lambda: client.read_flow_run(run).state.is_final(), "its end")
                one.wait(300)
            finally:
                one.kill()
        states = [state.name for state in client.read_flow_run_states(run)]
        assert states[-1] == "Cancelled"
        assert "Crashed" not in states


def _deployed_run(client: SyncPrefectClient, began: Path) -> UUID:
    flow = client.create_flow_from_name("hanging")
    # Not by its path: Prefect would copy the whole folder, the installed packages too.
    here = {"prefect.deployments.steps.set_working_directory": {"directory": str(PROJECT)}}
    entrypoint = "tests/flows/hanging.py:hanging"
    deployment = client.create_deployment(
        flow, "hanging", entrypoint=entrypoint, pull_steps=[here], enforce_parameter_schema=False
    )
    return client.create_flow_run_from_deployment(deployment, parameters={"began": str(began)}).id
