"""A Prefect server and a worker in processes that can be killed and restarted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import urllib3
import yaml

from tests.conftest import ROOT, free_port, wait_until
from tests.rest import RETRIES, ask

PROJECT = ROOT


class Machine:
    """A Prefect server and a worker in processes that can be killed and restarted."""

    def __init__(self, home: Path, **more: str) -> None:
        """``more``: environment variables of server, worker and commands."""
        port = free_port()
        self.home, self.address = home, f"http://127.0.0.1:{port}/api"
        self.environment = {
            **os.environ,
            "PREFECT_HOME": str(home),
            "PREFECT_API_URL": self.address,
            # A command that another test ran in this process may have silenced Prefect's log.
            "PREFECT_LOGGING_LEVEL": "INFO",
            "PREFECT_LOGGING_TO_API_ENABLED": "true",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PYTHONPATH": str(PROJECT),
            **more,
        }
        self._server_command = ["server", "start", "--host", "127.0.0.1", "--port", str(port)]
        self.processes: dict[str, subprocess.Popen] = {}

    def start(self, name: str, *command: str) -> subprocess.Popen:
        with (self.home / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "prefect", *command],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=PROJECT,
                env=self.environment,
            )
        return self.processes[name]

    def start_server(self) -> None:
        self.start("server", *self._server_command)
        wait_until(self._healthy, "the server")

    def _healthy(self) -> bool:
        assert self.processes["server"].poll() is None, (self.home / "server.log").read_text()
        try:
            return self.ask("/health") is True
        except urllib3.exceptions.HTTPError:
            return False

    def stop_server(self, sign: signal.Signals = signal.SIGTERM) -> None:
        self.processes["server"].send_signal(sign)
        self.processes["server"].wait(300)

    def start_worker(self) -> None:
        self.start("worker", "worker", "start", "--pool", "gpu")

    def stop_worker(self) -> None:
        self.processes["worker"].kill()
        self.processes["worker"].wait()

    def ask(self, path: str, body: Any = None) -> Any:
        status, answer = ask(self.address, path, body, self.environment.get("PREFECT_API_AUTH_STRING", ""))
        assert status < 400, f"{path}: {status} {answer}"
        return answer

    def delete(self, path: str) -> None:
        answer = urllib3.request("DELETE", f"{self.address}{path}", retries=RETRIES, timeout=120)
        assert answer.status < 400, f"{path}: {answer.status}"

    def deployment(self, name: str) -> str:
        """The id of a deployment."""
        return self.ask("/deployments/filter", {"deployments": {"name": {"any_": [name]}}})[0]["id"]

    def run(self, fields: dict[str, Any], **more: Any) -> str:
        """Start a run of the deployment text-to-image; returns its id. ``more``: fields of the run."""
        path = f"/deployments/{self.deployment('text-to-image')}/create_flow_run"
        return self.ask(path, {"parameters": {"recipe": fields}, **more})["id"]

    def run_of_another(self, flow: str, tags: list[str]) -> str:
        """Start a run of another project's deployment with these tags, for a pool without a worker; returns its id."""
        flow_id = self.ask("/flows/", {"name": flow})["id"]
        named = {"name": "-".join(tags), "flow_id": flow_id, "tags": tags, "entrypoint": "ci.py:ci"}
        deployment = self.ask("/deployments/", named)["id"]
        return self.ask(f"/deployments/{deployment}/create_flow_run", {})["id"]

    def events(self, name: str, run: str) -> list[dict[str, Any]]:
        """The events of this name that concern the run."""
        about = {"id": [f"prefect.flow-run.{run}"]}
        found = {"event": {"name": [name]}, "any_resource": about}
        return self.ask("/events/filter", {"filter": found})["events"]

    def cancel(self, run: str) -> None:
        """As the dashboard's button does."""
        self.ask(f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})

    def build(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Build a recipe with the command, on the machine's server and cluster; returns the run's figures."""
        recipe = Path(fields["prompts"]).with_name("by-hand.yaml")
        recipe.write_text(yaml.safe_dump(fields))
        self._call(f"from imagemill.flows.cli.app import main; main(['build', {str(recipe)!r}])")
        return json.loads((Path(fields["output"]) / "runs.jsonl").read_text().splitlines()[-1])

    def set_state(self, run: str, kind: str, name: str | None = None) -> None:
        self.ask(f"/flow_runs/{run}/set_state", {"state": {"type": kind, "name": name}, "force": True})

    def emit(self, event: dict[str, Any]) -> None:
        self.ask("/events", [event])

    def state(self, run: str) -> dict[str, Any]:
        return self.ask(f"/flow_runs/{run}")["state"]

    def wait_for(self, run: str, name: str, seconds: float = 600) -> None:
        def reached() -> bool:
            state = self.state(run)
            assert state["name"] == name or state["type"] != "FAILED", state["message"]
            return state["name"] == name

        wait_until(reached, f"the run to be {name}", seconds)

    def flow_processes(self) -> list[psutil.Process]:
        """The process that runs the flow, and its children: the GPU workers."""
        try:
            return psutil.Process(self.processes["worker"].pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def set_up(self) -> None:
        self._call("from imagemill.flows.cli.app import main; main(['setup-prefect'])")

    def set_up_automations(self, silent_seconds: int) -> None:
        made = f"list(make_pool_and_automations(runs_at_once=1, silent_seconds={silent_seconds}))"
        self._call(f"from imagemill.flows.prefect_server.setup import make_pool_and_automations; {made}")

    def _call(self, code: str) -> None:
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, check=False, cwd=PROJECT, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def stop(self) -> None:
        for process in reversed(self.processes.values()):
            for child in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else ():
                child.kill()
            process.kill()
            process.wait()
