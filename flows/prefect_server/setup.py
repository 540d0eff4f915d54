"""`imagemill setup-prefect`: a Prefect server made ready for this project. Calling it again changes nothing."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL

from imagemill.data.errors import ImagemillError
from imagemill.flows.prefect_server.automations import our_automations
from imagemill.flows.prefect_server.connection import find_server, missing_settings

POOL = "gpu"
PROJECT = Path(__file__).resolve().parents[2]


def set_up(runs_at_once: int, silent_seconds: int) -> None:
    """Make the work pool, the automations and the deployments, or bring them up to date; says what it does.

    Raises ImagemillError where no server is named, or where deploying fails.
    """
    if not (PROJECT / "prefect.yaml").exists():
        raise ImagemillError(
            f"there is no prefect.yaml in {str(PROJECT)!r}: run this from a checkout of the project, installed with "
            "`pip install -e .`, since workers run the flows from there."
        )
    find_server(needed=True)
    for line in make_pool_and_automations(runs_at_once, silent_seconds):
        print(line)
    for name in _deploy():
        print(f"Deployment {name!r}.")
    if missing := missing_settings(tomllib.loads((PROJECT / "prefect.toml").read_text())):
        print("The server lacks settings that docs/deploy.md tells of. Start it in this project's folder,")
        print("whose prefect.toml has them, or with these in its environment:")
        print(*(f"  {line}" for line in missing), sep="\n")
    print(f"Start a worker:  prefect worker start --pool {POOL}")
    print("Start a build:   prefect deployment run 'build-dataset/text-to-image' --watch")
    print(f"Dashboard:       {PREFECT_API_URL.value().removesuffix('/api')}")


def make_pool_and_automations(runs_at_once: int, silent_seconds: int) -> Iterator[str]:
    """Make these, or bring them up to date; yields a line for each. Raises ImagemillError."""
    with get_client(sync_client=True) as client:
        _make_pool(client, runs_at_once)
        yield f"Work pool {POOL!r}: {runs_at_once} at once."
        for automation in our_automations(timedelta(seconds=silent_seconds)):
            _make_automation(client, automation)
            yield f"Automation {automation.name!r}."


def _make_pool(client: SyncPrefectClient, runs_at_once: int) -> None:
    try:
        pool = client.read_work_pool(POOL)
    except ObjectNotFound:
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process", concurrency_limit=runs_at_once))
        return
    if pool.type != "process":
        raise ImagemillError(
            f"the work pool {POOL!r} is there and is of type {pool.type!r}, not 'process'. Delete it "
            f"(`prefect work-pool delete {POOL}`), or give the deployments in prefect.yaml another pool."
        )
    client.update_work_pool(POOL, WorkPoolUpdate(concurrency_limit=runs_at_once))


def _make_automation(client: SyncPrefectClient, wanted: AutomationCore) -> None:
    # Names are not unique to Prefect: one that is there is changed, else each call would add another.
    there, *twice = client.read_automations_by_name(wanted.name) or [None]
    for one in twice:
        client.delete_automation(one.id)
    if there is None:
        client.create_automation(wanted)
    else:
        client.update_automation(there.id, wanted)


def _deploy() -> list[str]:
    """Deploy what prefect.yaml lists, all of it; returns the names, FLOW/DEPLOYMENT. Raises ImagemillError."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    names = re.findall(r"Deployment '([^']+)'", " ".join(done.stdout.split()))
    wanted = len(yaml.safe_load((PROJECT / "prefect.yaml").read_text())["deployments"])
    if done.returncode != 0 or len(set(names)) < wanted:
        said = "\n".join(text.strip() for text in (done.stdout, done.stderr) if text.strip())
        raise ImagemillError(f"`prefect deploy --all` in {str(PROJECT)!r} did not deploy everything. It said:\n{said}")
    return names
