"""Take the images of docs/dashboard.md anew: a server, a worker, a build, and a browser that looks at them.

python docs/take_screenshots.py /data    # the folder that the images name; they go to docs/images, or to a second one

About two minutes on 2 cores; needs Chromium (Debian: apt-get install chromium).
The server has a home of its own that goes when it is done. Look at every image before you commit it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from browser import open_browser
from prefect.client.orchestration import SyncPrefectClient

PROJECT = Path(__file__).resolve().parents[1]
IMAGES = PROJECT / "docs" / "images"
LIMIT = 300
"""Seconds that anything may take."""


class Server:
    """A Prefect server that setup-prefect has made ready, with a worker."""

    def __init__(self, home: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.home, self.root = home, f"http://127.0.0.1:{port}"
        self._api = f"{self.root}/api"
        # The dashboard asks this address; without it, port 4200.
        addresses = {"PREFECT_API_URL": self._api, "PREFECT_UI_API_URL": self._api, "PREFECT_HOME": str(home)}
        self.environment = {**os.environ, **addresses, "PYTHONPATH": str(PROJECT), "DO_NOT_TRACK": "1"}
        self._start_server = ["server", "start", "--host", "127.0.0.1", "--port", str(port)]

    @contextmanager
    def running(self) -> Iterator[None]:
        """The server and the worker, until the block ends."""
        started = [self._prefect(*self._start_server)]
        try:
            wait_for(self._healthy, "the server")
            command = [sys.executable, "-c", "from imagemill.flows.cli.app import main; main(['setup-prefect'])"]
            subprocess.run(command, check=True, cwd=PROJECT, env=self.environment)
            started.append(self._prefect("worker", "start", "--pool", "gpu"))
            yield
        finally:
            for process in reversed(started):
                process.terminate()
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()

    def _prefect(self, *command: str) -> subprocess.Popen:
        with (self.home / f"{command[0]}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "prefect", *command],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=PROJECT,
                env=self.environment,
            )

    def _healthy(self) -> bool:
        with SyncPrefectClient(self._api) as client:
            return client.api_healthcheck() is None

    def ask(self, path: str, body: dict[str, Any] | None = {}) -> Any:  # noqa: B006 - nobody changes it
        """What the REST API answers; a locked database is asked again by Prefect's client."""
        with SyncPrefectClient(self._api) as client:
            return client.request("GET" if body is None else "POST", path, json=body).json()


def wait_for(true: Callable[[], Any], what: str) -> None:
    """Wait until it is true. Raises TimeoutError."""
    end = time.monotonic() + LIMIT
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"waited in vain for {what}")
        time.sleep(1)


def build(server: Server, folder: Path) -> str:
    """Build the shapes in the folder, with two bad lines among them; returns the run's id when it is completed."""
    prompts, output = folder / "winter-shapes.jsonl", folder / "winter-shapes"
    shutil.rmtree(output, ignore_errors=True)
    folder.mkdir(exist_ok=True)
    shapes = (PROJECT / "data/samples/shapes.jsonl").read_text()
    prompts.write_text('{"prompt": ""}\n' + shapes + "not JSON\n")
    recipe = {"name": "winter-shapes", "prompts": str(prompts), "output": str(output)}
    recipe |= {"shard_size": 6, "max_set_aside": 0.1, "generate": {}, "edit": {}}
    deployment = next(one for one in server.ask("/deployments/filter") if one["name"] == "generate-and-edit")
    body = {"parameters": {"recipe": recipe}}
    run = server.ask(f"/deployments/{deployment['id']}/create_flow_run", body)["id"]
    states = ("COMPLETED", "FAILED", "CRASHED")
    wait_for(lambda: server.ask(f"/flow_runs/{run}", None)["state_type"] in states, "the build")
    return run


def take(server: Server, run: str, to: Path) -> None:
    """Save an image of every page that docs/dashboard.md shows, once it shows what it is to show."""
    deployments = {one["name"]: one["id"] for one in server.ask("/deployments/filter")}
    artifacts = {one["key"]: one["id"] for one in server.ask("/artifacts/filter") if one["key"]}
    report = artifacts["winter-shapes-report"]
    pages = (
        ("run", f"/v2/runs/flow-run/{run}", "winter-shapes, run 1", 1000),
        ("artifacts", f"/v2/runs/flow-run/{run}?tab=Artifacts", "winter-shapes-report", 1100),
        ("report", f"/v2/artifacts/artifact/{report}", "Contact sheet", 2000),
        ("report-first-dashboard", f"/artifacts/artifact/{report}", "Contact sheet", 2000),
        ("set-aside", f"/v2/artifacts/artifact/{artifacts['winter-shapes-set-aside']}", "the prompt is empty", 600),
        ("form", f"/v2/deployments/deployment/{deployments['generate-and-edit']}/run", "Batch size", 1300),
        ("schedule", f"/v2/deployments/deployment/{deployments['nightly']}", "Next Run", 900),
    )
    with open_browser(1280, 900) as page:
        for name, path, words, height in pages:
            page.size(1280, height)
            page.open(server.root + path)
            page.wait_for(words)
            if name == "run":
                # Generated on a canvas, which has no words to wait for.
                time.sleep(5)
            page.image(to / f"dashboard-{name}.png")
            print(to / f"dashboard-{name}.png")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="imagemill-images-", ignore_cleanup_errors=True) as scratch:
        place = Server(Path(scratch))
        with place.running():
            take(place, build(place, Path(sys.argv[1])), Path(sys.argv[2]) if sys.argv[2:] else IMAGES)
