"""Shared fixtures: one Prefect server, one small model with random weights, one cluster of workers."""

from __future__ import annotations

import json
import logging
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest
from filelock import FileLock

from tests.data.dataset_hub import TOKEN, DatasetHub

ROOT = Path(__file__).parents[1]
"""The checkout."""

pytest_plugins = ["tests.commands"]

os.environ |= {
    # With two test processes on two cores, torch threads that wait must sleep and free the core.
    "OMP_WAIT_POLICY": "PASSIVE",
    # Workers import the tests' stand-ins, and never look for modules in their working directory.
    "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    "HF_HUB_OFFLINE": "1",
    # No test needs a name server: one that does not answer costs a second, not five.
    "RES_OPTIONS": "timeout:1 attempts:1",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
}


SLOW_FIXTURES = {
    "build",
    "built",
    "cluster",
    "dataset_hub",
    "empty_home",
    "machine",
    "model",
    "object_store",
    "server",
    "starter",
    "wheel",
}
"""What takes seconds to start: tests with one of these are not in `make check`."""

SLOW_FOLDERS = {
    "benchmarks",
    "build",
    "build_models",
    "bundled",
    "drawing",
    "faults",
    "loading",
    "old",
    "prefect_server",
    "runner",
    "scoring",
}
"""Folders of tests that import torch, or start processes."""

FAST = "not slow and not long"
"""The marks of `make check`."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """`make check` does not import files whose tests are all slow: torch and diffusers alone take seconds."""
    if config.option.markexpr != FAST:
        return None
    if collection_path.is_dir():
        return True if collection_path.name in SLOW_FOLDERS else None
    is_slow = collection_path.suffix == ".py" and re.search(
        r"^pytestmark = pytest\.mark\.(slow|long)$", collection_path.read_text(encoding="utf-8"), re.MULTILINE
    )
    return True if is_slow else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what needs a server, workers or a model."""
    for item in items:
        folders = set(item.path.parent.relative_to(ROOT).parts)
        if SLOW_FIXTURES & set(getattr(item, "fixturenames", ())) or SLOW_FOLDERS & folders:
            item.add_marker(pytest.mark.slow)
    # Files that take seconds come last, so that both processes end at about the same time.
    items.sort(key=lambda item: item.path.is_relative_to(ROOT / "tests" / "data"))


def free_port() -> int:
    """A free port below the range that Linux assigns automatically, so that no other program takes it meanwhile."""
    while True:
        port = random.randrange(20_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def wait_until(true: Callable[[], Any], what: str, seconds: float = 300) -> Any:
    """The first true value of ``true()``; fails the test with ``what`` when there is none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := true():
            return value
        time.sleep(0.02)
    pytest.fail(f"waited {seconds} s in vain for {what}")


def command_of(process: psutil.Process) -> list[str]:
    """A process's command line; empty once it has ended."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that ``make`` fills once for all test processes."""
    root = factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    with FileLock(root / f"{name}.lock"):
        if not (root / name).exists():
            unfinished = factory.mktemp(name)
            make(unfinished)
            unfinished.rename(root / name)
    return root / name


@pytest.fixture(scope="session")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Prefect home with an empty database, to be copied: creating its tables takes a server 10 s."""

    def make(folder: Path) -> None:
        command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PREFECT_HOME": str(folder)})

    return made_once(tmp_path_factory, "empty-home", make)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, empty_home: Path) -> Iterator[str]:
    """The API address of a real Prefect server with an empty home, used by this process and its children."""
    home = tmp_path_factory.mktemp("prefect")
    shutil.copytree(empty_home, home, dirs_exist_ok=True)
    os.environ["PREFECT_HOME"] = str(home)
    port = free_port()
    address = f"http://127.0.0.1:{port}/api"
    log = (home / "server.log").open("wb")
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def healthy() -> bool:
        assert process.poll() is None, (home / "server.log").read_text()
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=1) as answer:
                return answer.status == 200
        except OSError:
            return False

    try:
        wait_until(healthy, "the Prefect server")
        os.environ["PREFECT_API_URL"] = address
        # Prefect reads its environment on import, which a test module may have done before.
        from prefect.context import refresh_global_settings_context
        from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

        refresh_global_settings_context()
        # A flow's end waits up to a second for the heartbeat thread; tests of heartbeats have their own server.
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            yield address
    finally:
        os.environ.pop("PREFECT_API_URL", None)
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Flux pipeline with random weights, saved like any other model."""

    def make(folder: Path) -> None:
        command = [sys.executable, "-m", "imagemill.models.bundled.architecture", str(folder / "random")]
        subprocess.run(command, check=True, capture_output=True)

    return made_once(tmp_path_factory, "models", make) / "random"


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """The address of a running cluster of two CPU workers, in which models stay loaded from test to test."""
    from benchmarks.shared_cluster import shared_cluster

    with shared_cluster(workers=2) as address:
        yield address


@pytest.fixture
def fields(tmp_path: Path, model: Path) -> dict[str, Any]:
    """The fields of a recipe: four prompts, each generated and then edited."""
    return small_fields(tmp_path, model)


def small_fields(folder: Path, model: Path) -> dict[str, Any]:
    """The fields of a recipe for four prompts, written into the folder; each is generated and then edited."""
    prompts = folder / "prompts.jsonl"
    write_prompts(prompts, ["a fox", "a kite", "a ring", "a star"])
    small = {"model": str(model), "steps": 1, "batch_size": 2}
    return {
        "name": "small",
        "prompts": str(prompts),
        "output": str(folder / "out"),
        "generate": {**small, "width": 64, "height": 64},
        "edit": {**small, "instructions": ["make it red"]},
        "shard_size": 2,
    }


def write_prompts(path: Path, prompts: list[str | dict[str, Any]]) -> None:
    """Write prompts (texts, or whole rows) as JSON lines."""
    rows = [{"prompt": prompt} if isinstance(prompt, str) else prompt for prompt in prompts]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


Build = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def build(server: str, cluster: str) -> Build:
    """Builds a recipe's fields, with dotted overrides, on the shared cluster; returns the run's figures."""
    from imagemill.data.config.load import load_recipe
    from imagemill.flows.build_dataset import build_dataset
    from imagemill.tasks.runner.gpu_task_runner import GpuTaskRunner

    def run(
        fields: dict[str, Any], overrides: dict[str, Any] | None = None, retry_set_aside: bool = False
    ) -> dict[str, Any]:
        flow = build_dataset.with_options(task_runner=GpuTaskRunner(address=cluster))
        return flow(load_recipe(json.loads(json.dumps(fields)), overrides), retry_set_aside)

    return run


@pytest.fixture(scope="session")
def object_store() -> Iterator[str]:
    """The address of a real S3 server on the loopback, which this process and its children use as Amazon's."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    store = ThreadedMotoServer("127.0.0.1", free_port(), verbose=False)
    store.start()
    address = "http://{}:{}".format(*store.get_host_and_port())
    settings = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    os.environ |= settings
    yield address
    for name in settings:
        del os.environ[name]
    store.stop()


@pytest.fixture
def bucket(object_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a new bucket; the work files of its builds are in ``tmp_path / "work"``."""
    import boto3

    monkeypatch.setenv("IMAGEMILL_WORK", str(tmp_path / "work"))
    name = f"bucket-{uuid4()}"
    boto3.client("s3").create_bucket(Bucket=name)
    return name


@pytest.fixture
def dataset_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[DatasetHub]:
    """A hub of datasets that this process uses as Hugging Face's, with a token and without Xet."""
    from huggingface_hub import constants

    hub = DatasetHub()
    server = hub.start()
    monkeypatch.setattr(constants, "ENDPOINT", hub.address)
    template = f"{hub.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield hub
    server.shutdown()
    server.server_close()
