"""`imagemill setup-prefect`: a Prefect server made ready for this project. Calling it again changes nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.events.schemas.automations import AutomationCore
from prefect.settings import PREFECT_API_URL

from imagemill.data.errors import ImagemillError
from imagemill.flows.prefect_server.automations import RETIRED, our_automations
from imagemill.flows.prefect_server.connection import find_server, missing_settings
from imagemill.flows.prefect_server.schedules import forgotten, make_equal, make_way, on_server
from imagemill.flows.prefect_server.work_pool import POOL, PROCESSES, WORK_FOLDER, Pool, make_pool

CHECKOUT = Path(__file__).resolve().parents[2]
"""The project's folder, if it was installed with `pip install -e`."""

DEPLOYMENTS, SETTINGS = Path(__file__).with_name("prefect.yaml"), Path(__file__).with_name("prefect.toml")
"""The project's own, which an installed package brings along."""


def set_up(runs_at_once: int, silent_seconds: int, pool: Pool = PROCESSES) -> None:
    """Make the work pool, the automations and the deployments, or bring them up to date; says what it does.

    prefect.yaml decides: a schedule that it does not list is deleted, and one that it lists as active is resumed, even
    if a user paused it in the dashboard. Runs work in the checkout, or, where imagemill was installed as a package, in
    the folder this is called in; runs in containers, in their folder for work.

    Raises ImagemillError where no server is named, or where deploying fails.
    """
    find_server(needed=True)
    for line in make_pool_and_automations(runs_at_once, silent_seconds, pool):
        print(line)
    for line in deploy(WORK_FOLDER if pool.has_containers else None):
        print(line)
    if missing := missing_settings(tomllib.loads(SETTINGS.read_text())):
        print("The server lacks settings that docs/operations/server.md lists. Start it in this project's folder,")
        print("whose prefect.toml has them, or with these in its environment:")
        print(*(f"  {line}" for line in missing), sep="\n")
    print(f"Start a worker:  prefect worker start --pool {POOL}")
    print("Start a build:   prefect deployment run build-images/from-prompts -p prompts=FILE --watch")
    print(f"Dashboard:       {PREFECT_API_URL.value().removesuffix('/api')}")


def make_pool_and_automations(runs_at_once: int, silent_seconds: int, pool: Pool = PROCESSES) -> Iterator[str]:
    """Make these, or bring them up to date; yields a line for each. Raises ImagemillError."""
    with get_client(sync_client=True) as client:
        make_pool(client, pool, runs_at_once)
        yield f"Work pool {POOL!r} of type {pool.type!r}: {runs_at_once} at once."
        for automation in our_automations(timedelta(seconds=silent_seconds)):
            _make_automation(client, automation)
            yield f"Automation {automation.name!r}."
        for name in RETIRED:
            for automation in client.read_automations_by_name(name):
                client.delete_automation(automation.id)
                yield f"Automation {name!r}, of an earlier version, is deleted."


def _make_automation(client: SyncPrefectClient, wanted: AutomationCore) -> None:
    # Names are not unique to Prefect: one that is there is changed, else each call would add another.
    there, *twice = client.read_automations_by_name(wanted.name) or [None]
    for one in twice:
        client.delete_automation(one.id)
    if there is None:
        client.create_automation(wanted)
    else:
        client.update_automation(there.id, wanted)


def deploy(container_folder: str | None = None) -> Iterator[str]:
    """Deploy what prefect.yaml lists, with the schedules that it lists and no others. Raises ImagemillError.

    Yields a line for each deployment, for each schedule that changed, and for each deployment that is not listed.

    ``container_folder``: where runs work if they have no part in this machine's file system.
    """
    definition = yaml.safe_load(DEPLOYMENTS.read_text())
    is_checkout = container_folder is None and (CHECKOUT / "prefect.yaml").exists()
    if not is_checkout:
        definition = _for_package(definition, container_folder or str(Path.cwd()))
    entries = definition["deployments"]
    with get_client(sync_client=True) as client:
        before = on_server(client)
        make_way(client, entries, before)
        names = _deploy(definition, is_checkout)
        for name in names:
            yield f"Deployment {name!r}."
            for line in make_equal(client, name, entries, before):
                yield f"  {line}"
        yield from forgotten(client, names, before)


def _deploy(definition: dict[str, Any], is_checkout: bool) -> list[str]:
    """Deploy all of it; returns the names, FLOW/DEPLOYMENT."""
    with TemporaryDirectory() as empty:
        if is_checkout:
            file, directory = CHECKOUT / "prefect.yaml", CHECKOUT
        else:
            # Prefect imports from the folder that it deploys in: not from the user's.
            file, directory = Path(empty, "prefect.yaml"), Path(empty)
            file.write_text(yaml.safe_dump(definition, sort_keys=False))
        command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(file)]
        # Without this setting an empty list of schedules changes nothing, with a warning.
        environment = {**os.environ, "PREFECT_DEPLOYMENTS_CLEAR_SCHEDULES_ON_EMPTY": "true"}
        done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    names = [*dict.fromkeys(re.findall(r"Deployment '([^']+)'", " ".join(done.stdout.split())))]
    if done.returncode != 0 or len(names) < len(definition["deployments"]):
        output = "\n".join(text.strip() for text in (done.stdout, done.stderr) if text.strip())
        raise ImagemillError(f"`prefect deploy --all` did not deploy everything. Its output:\n{output[-3000:]}")
    return names


def _for_package(definition: dict[str, Any], working_directory: str) -> dict[str, Any]:
    """The deployments with each flow named by its module, as no checkout has its file; runs work in the directory."""
    deployments = [
        {**deployment, "entrypoint": _module_path(deployment["entrypoint"])} for deployment in definition["deployments"]
    ]
    pull = [{"prefect.deployments.steps.set_working_directory": {"directory": working_directory}}]
    return {**definition, "pull": pull, "deployments": deployments}


def _module_path(entrypoint: str) -> str:
    """``flows/build_dataset.py:build_dataset`` -> ``imagemill.flows.build_dataset.build_dataset``."""
    file, _, flow = entrypoint.partition(":")
    return ".".join(["imagemill", *Path(file).with_suffix("").parts, flow])
