"""The examples of docs/operations/own-flows.md work as they stand, in a folder whose modules are named like ours."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.commands import Ask
from tests.conftest import ROOT, wait_until

EXAMPLE = re.compile(r"```(?:python|yaml)\n# (\S+)\n(.+?)```", re.DOTALL)
THEIRS = ["tasks.py", "models.py", "flows/__init__.py", "data/__init__.py", "data/errors.py"]
"""Modules of the user's repository that ours must not be mistaken for."""


class Repository:
    """A user's folder with the page's examples, on the tests' server."""

    def __init__(self, folder: Path, ask: Ask) -> None:
        self.folder, self._ask = folder, ask
        self.environment = {
            **os.environ,
            # As a shell has it.
            "PWD": str(folder),
            "PREFECT_RUNNER_POLL_FREQUENCY": "1",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_LOGGING_LEVEL": "INFO",
        }
        # The installed package, as a user has it.
        del self.environment["PYTHONPATH"]
        for name, text in EXAMPLE.findall((ROOT / "docs/operations/own-flows.md").read_text()):
            (folder / name).write_text(text)
        for name in THEIRS:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text("raise ImportError('the module of the user')\n")

    def python(self, *arguments: str) -> str:
        """What a command prints that succeeds."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def running(self, *arguments: str) -> Iterator[None]:
        """Context in which a command runs."""
        with (self.folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, *arguments], cwd=self.folder, env=self.environment, stdout=log, stderr=log
            )
        try:
            yield
        finally:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
            process.wait()

    def deployment(self, name: str) -> dict[str, Any]:
        """The deployment FLOW/NAME, once it is there."""

        def found() -> dict[str, Any] | None:
            answer = self._ask(f"/deployments/name/{name}")
            return answer if isinstance(answer, dict) else None

        return wait_until(found, f"the deployment {name}")

    def run(self, name: str) -> None:
        """Run a deployment until it is completed."""
        run = self._ask(f"/deployments/{self.deployment(name)['id']}/create_flow_run", {})["id"]

        def is_completed() -> bool:
            state = self._ask(f"/flow_runs/{run}")["state"]
            assert state["type"] not in ("FAILED", "CRASHED"), f"{state['message']}\n{self.log()}"
            return state["type"] == "COMPLETED"

        wait_until(is_completed, f"a run of {name}")

    def log(self) -> str:
        """What the running command has printed."""
        return (self.folder / "log").read_text()

    def rows(self, dataset: str) -> int:
        """Number of rows of a finished dataset."""
        from imagemill.data.dataset.folder import Folder
        from imagemill.data.dataset.reader import read_runs

        return read_runs(Folder(str(self.folder / "out" / dataset)))[-1]["rows"]


@pytest.fixture
def repository(server: str, ask: Ask, tmp_path: Path) -> Iterator[Repository]:
    from prefect.client.orchestration import get_client

    from imagemill.flows.prefect_server.setup import make_pool_and_automations

    list(make_pool_and_automations(runs_at_once=1, silent_seconds=90))
    before = {deployment["id"] for deployment in ask("/deployments/filter", {})}
    yield Repository(tmp_path, ask)
    with get_client(sync_client=True) as client:
        for deployment in ask("/deployments/filter", {}):
            if deployment["id"] not in before:
                client.delete_deployment(deployment["id"])


def test_the_script_builds_a_dataset_as_a_subflow(repository: Repository, cluster: str):
    repository.environment["IMAGEMILL_CLUSTER"] = cluster
    assert repository.python("animals.py").endswith("complete: 2 rows\n")
    assert repository.rows("animals") == 2


@pytest.mark.long
def test_the_script_builds_a_dataset_without_a_server(repository: Repository, empty_home: Path, tmp_path: Path):
    del repository.environment["PREFECT_API_URL"]
    repository.environment["PREFECT_HOME"] = str(shutil.copytree(empty_home, tmp_path / "home"))
    assert repository.python("animals.py").endswith("complete: 2 rows\n")
    assert repository.rows("animals") == 2


@pytest.mark.long
def test_a_served_build_runs(repository: Repository):
    (repository.folder / "animals.txt").write_text("a fox\n")
    with repository.running("serve.py"):
        repository.run("build-dataset/served")
    assert repository.rows("served") == 1
    assert repository.deployment("build-dataset/served")["tags"] == ["imagemill-build"]


@pytest.mark.long
def test_a_served_flow_that_calls_a_build_runs(repository: Repository):
    (repository.folder / "serve_animals.py").write_text(
        "from animals import animals\n\nif __name__ == '__main__':\n    animals.serve('served')\n"
    )
    with repository.running("serve_animals.py"):
        repository.run("animals/served")
    assert repository.rows("animals") == 2


@pytest.mark.long
def test_two_flows_served_from_one_script_run(repository: Repository):
    recipe = {"name": "both", "prompts": "animals.txt", "generate": {"model": "bundled"}}
    (repository.folder / "both.yaml").write_text(yaml.safe_dump(recipe))
    with repository.running("serve_both.py"):
        repository.run("animals/both")
        repository.run("build-dataset/both")
    assert (repository.rows("animals"), repository.rows("both")) == (2, 2)


@pytest.mark.long
def test_flows_deployed_to_a_pool_from_python_and_from_an_own_prefect_yaml_run(repository: Repository):
    repository.python("deploy.py")
    repository.python("-m", "prefect", "--no-prompt", "deploy", "--all")
    with repository.running("-m", "prefect", "worker", "start", "--pool", "gpu"):
        repository.run("animals/deployed")
        repository.run("animals/nightly-animals")
        repository.run("build-dataset/foxes")
    assert (repository.rows("animals"), repository.rows("foxes")) == (2, 2)
    for name in ("animals/deployed", "animals/nightly-animals", "build-dataset/foxes"):
        assert repository.deployment(name)["tags"] == ["imagemill-build"]
