"""Screenshots of docs/operations/dashboard.md: starts a server, a worker, a build and a browser, and saves every page.

python docs/tools/take_screenshots.py /data    # folder of the build; images go to docs/images or a second argument

About four minutes on 2 cores; needs Chromium (Debian: apt-get install chromium).
The server's home is temporary. Look at every image before you commit it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from browser import open_browser
from prefect.client.orchestration import SyncPrefectClient

PROJECT = Path(__file__).resolve().parents[2]
IMAGES = PROJECT / "docs" / "images"
TIMEOUT_S = 300
"""Seconds that each wait may take."""


class Server:
    """A Prefect server prepared by setup-prefect, with a worker."""

    def __init__(self, home: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.home, self.root = home, f"http://127.0.0.1:{port}"
        self._api = f"{self.root}/api"
        # The dashboard calls this address; without it, port 4200.
        addresses = {"PREFECT_API_URL": self._api, "PREFECT_UI_API_URL": self._api, "PREFECT_HOME": str(home)}
        self.environment = {**os.environ, **addresses, "PYTHONPATH": str(PROJECT), "DO_NOT_TRACK": "1"}
        self._start_server = ["server", "start", "--host", "127.0.0.1", "--port", str(port)]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the server and the worker until the block ends."""
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

    def request(self, path: str, body: dict[str, Any] | None = {}) -> Any:  # noqa: B006 - never changed
        """The REST API's answer: POST with a body, GET with None. Prefect's client retries on a locked database."""
        with SyncPrefectClient(self._api) as client:
            return client.request("GET" if body is None else "POST", path, json=body).json()


def wait_for(condition: Callable[[], Any], what: str) -> None:
    """Wait until the condition is true. Raises TimeoutError."""
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited in vain for {what}")
        time.sleep(1)


def start(server: Server, folder: Path, **fields: Any) -> str:
    """Start a build of the shapes with the short form, in the folder; returns the run's id."""
    deployment = deployments(server)["from-prompts"]
    given = {"prompts": str(folder / "winter-shapes.jsonl"), "output": str(folder / "winter-shapes")}
    given |= {"instructions": ["turn it blue"], "overrides": {"shard_size": 6, "max_set_aside": 0.1}}
    return server.request(f"/deployments/{deployment}/create_flow_run", {"parameters": given | fields})["id"]


def build(server: Server, folder: Path, to: Path) -> str:
    """Build the shapes, with two bad lines among them, and then with more images; returns the second run's id.

    Screenshots of its report are taken while it runs.
    """
    shutil.rmtree(folder / "winter-shapes", ignore_errors=True)
    folder.mkdir(exist_ok=True)
    shapes = (PROJECT / "data/samples/shapes.jsonl").read_text()
    (folder / "winter-shapes.jsonl").write_text('{"prompt": ""}\n' + shapes + "not JSON\n")
    wait_for_end(server, start(server, folder, candidates=2))
    run = start(server, folder, candidates=16, images_per_prompt=8)

    def is_shown() -> bool:
        found = artifacts(server, run)
        text = found["winter-shapes-report"]["data"] if found else ""
        is_far = "| shards | 0 of" not in text
        return is_far and "## Last images" in text and "## Workers" in text and "ends about" in text

    wait_for(is_shown, "a report with an end")
    report = artifacts(server, run)["winter-shapes-report"]["id"]
    pages = (
        ("report-running", f"/v2/artifacts/artifact/{report}", "Last images", 2050),
        ("report-running-first-dashboard", f"/artifacts/artifact/{report}", "Last images", 1850),
    )
    save(server, pages, to)
    wait_for_end(server, run)
    return run


def wait_for_end(server: Server, run: str) -> None:
    """Wait until the run is Completed, Failed or Crashed."""
    states = ("COMPLETED", "FAILED", "CRASHED")
    wait_for(lambda: server.request(f"/flow_runs/{run}", None)["state_type"] in states, "the build")


def deployments(server: Server) -> dict[str, str]:
    """Name -> id of each deployment."""
    return {deployment["name"]: deployment["id"] for deployment in server.request("/deployments/filter")}


def artifacts(server: Server, run: str) -> dict[str, Any]:
    """Key -> artifact of the run."""
    found = server.request("/artifacts/filter", {"flow_runs": {"id": {"any_": [run]}}})
    return {artifact["key"]: artifact for artifact in found if artifact["key"]}


def take(server: Server, run: str, to: Path) -> None:
    """Save a screenshot of every page in docs/operations/dashboard.md, once its content is there."""
    ids = {key: artifact["id"] for key, artifact in artifacts(server, run).items()}
    report, form = ids["winter-shapes-report"], deployments(server)
    short = f"deployments/deployment/{form['from-prompts']}/run"
    pages = (
        ("short-form", f"/v2/{short}", "overrides", 1500),
        ("short-form-first-dashboard", f"/{short}", "overrides", 1650),
        ("parameters", f"/v2/runs/flow-run/{run}?tab=Parameters", "candidates", 1000),
        ("run", f"/v2/runs/flow-run/{run}", "winter-shapes, run 2", 1000),
        ("artifacts", f"/v2/runs/flow-run/{run}?tab=Artifacts", "winter-shapes-report", 1100),
        ("report", f"/v2/artifacts/artifact/{report}", "Contact sheet", 2900),
        ("report-first-dashboard", f"/artifacts/artifact/{report}", "Contact sheet", 2900),
        ("set-aside", f"/v2/artifacts/artifact/{ids['winter-shapes-set-aside']}", "the prompt is empty", 600),
        ("form", f"/v2/deployments/deployment/{form['generate-and-edit']}/run", "Batch size", 1300),
        ("schedule", f"/v2/deployments/deployment/{form['nightly']}", "Next Run", 900),
    )
    save(server, pages, to)


def save(server: Server, pages: Iterable[tuple[str, str, str, int]], to: Path) -> None:
    """Save a screenshot of each page (name, path, words to wait for, height)."""
    with open_browser(1280, 900) as page:
        for name, path, words, height in pages:
            page.size(1280, height)
            page.open(server.root + path)
            page.wait_for(words)
            if name in ("run", "parameters", "artifacts"):
                # The run's graph is painted on a canvas, which has no text to wait for.
                time.sleep(5)
            page.save_image(to / f"dashboard-{name}.png")
            print(to / f"dashboard-{name}.png")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="imagemill-screenshots-", ignore_cleanup_errors=True) as scratch:
        server = Server(Path(scratch))
        with server.running():
            to = Path(sys.argv[2]) if sys.argv[2:] else IMAGES
            take(server, build(server, Path(sys.argv[1]), to), to)
