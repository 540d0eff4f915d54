"""Schedules of the deployments: after setup-prefect, those on a real server are those of prefect.yaml."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.commands import Ask

PREFIX = "schedules-"
"""Of the names of these deployments; other tests have the same server."""

NIGHT = {"cron": "0 2 * * *", "timezone": "Europe/Berlin", "slug": "night", "active": True}
NOON = {"cron": "0 12 * * *", "timezone": "UTC"}

BEFORE = {
    "renamed": [NIGHT],
    "emptied": [NIGHT],
    "retimed": [NIGHT, {**NIGHT, "slug": "unchanged"}],
    "moved": [{**NIGHT, "parameters": {"retry_set_aside": True}}],
    "paused": [NIGHT],
    "left-paused": [{name: value for name, value in NIGHT.items() if name != "active"}],
    "without-slug": [NOON],
    "slug-lost": [NIGHT],
    "silent": [NIGHT],
    "gone": [NIGHT],
}
AFTER = {
    "renamed": [{**NIGHT, "slug": "late-night"}],
    "emptied": [],
    "retimed": [{**NIGHT, "cron": "0 3 * * *"}, {**NIGHT, "slug": "unchanged"}],
    "moved": [{**NIGHT, "timezone": "Asia/Tokyo"}],
    "paused": [NIGHT],
    "left-paused": BEFORE["left-paused"],
    "without-slug": [{**NOON, "cron": "30 12 * * *"}],
    "slug-lost": [NOON],
    "silent": None,
}


class Deployer:
    """What setup-prefect does with a prefect.yaml of these schedules, in a folder without a checkout."""

    def __init__(self, folder: Path, ask: Ask) -> None:
        self._file, self._ask = folder / "prefect.yaml", ask

    def deploy(self, schedules: dict[str, list[dict[str, Any]] | None]) -> list[str]:
        """Returns the lines that it prints."""
        from imagemill.flows.prefect_server.setup import deploy

        definition = {"name": "x", "deployments": [self._deployment(*item) for item in schedules.items()]}
        self._file.write_text(yaml.safe_dump(definition))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("imagemill.flows.prefect_server.setup.DEPLOYMENTS", self._file)
            patch.setattr("imagemill.flows.prefect_server.setup.CHECKOUT", self._file.with_name("none"))
            patch.chdir(self._file.parent)
            return list(deploy())

    def _deployment(self, name: str, schedules: list[dict[str, Any]] | None) -> dict[str, Any]:
        deployment = {
            "name": PREFIX + name,
            "entrypoint": "flows/verify_dataset.py:verify_dataset",
            "work_pool": {"name": "gpu"},
        }
        return deployment if schedules is None else {**deployment, "schedules": schedules}

    def found(self) -> dict[str, dict[str, Any]]:
        """The deployments on the server, by name."""
        listed = self._ask("/deployments/filter", {"deployments": {"name": {"like_": PREFIX}}})
        return {deployment["name"].removeprefix(PREFIX): deployment for deployment in listed}

    def ids(self) -> dict[str, set[str]]:
        """The ids of each deployment's schedules with a slug: the server lists them in any order."""
        return {name: {one["id"] for one in found["schedules"] if one["slug"]} for name, found in self.found().items()}

    def schedules(self) -> dict[str, list[tuple[str | None, str, str | None, bool]]]:
        """Slug, cron, time zone and whether it is active, of each schedule on the server."""
        return {
            name: sorted(
                (one["slug"], one["schedule"]["cron"], one["schedule"]["timezone"], one["active"])
                for one in deployment["schedules"]
            )
            for name, deployment in self.found().items()
        }


@pytest.fixture(scope="module")
def deployer(server: str, ask: Ask, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployer]:
    from prefect.client.orchestration import get_client

    from imagemill.flows.prefect_server.setup import make_pool_and_automations

    list(make_pool_and_automations(runs_at_once=1, silent_seconds=90))
    deployer = Deployer(tmp_path_factory.mktemp("schedules"), ask)
    yield deployer
    with get_client(sync_client=True) as client:
        for deployment in deployer.found().values():
            client.delete_deployment(deployment["id"])


@pytest.fixture(scope="module")
def lines(deployer: Deployer) -> list[str]:
    """What is printed when prefect.yaml has changed and a user has paused two schedules in the dashboard."""
    from prefect.client.orchestration import get_client

    deployer.deploy(BEFORE)
    with get_client(sync_client=True) as client:
        for name in ("paused", "left-paused"):
            deployment = deployer.found()[name]
            client.update_deployment_schedule(deployment["id"], deployment["schedules"][0]["id"], active=False)
    return deployer.deploy(AFTER)


def changes(lines: list[str], name: str) -> list[str]:
    """The lines on the schedules of a deployment."""
    rest = lines[lines.index(f"Deployment 'verify-dataset/{PREFIX}{name}'.") + 1 :]
    end = next((number for number, line in enumerate(rest) if line.startswith("Deployment")), len(rest))
    return [line.strip() for line in rest[:end]]


@pytest.mark.parametrize(
    ("name", "there", "printed"),
    [
        (
            "renamed",
            [("late-night", "0 2 * * *", "Europe/Berlin", True)],
            [
                "schedule 'late-night' added: '0 2 * * *' Europe/Berlin, active",
                "schedule 'night' removed: '0 2 * * *' Europe/Berlin, active",
            ],
        ),
        ("emptied", [], ["schedule 'night' removed: '0 2 * * *' Europe/Berlin, active"]),
        (
            "retimed",
            [("night", "0 3 * * *", "Europe/Berlin", True), ("unchanged", "0 2 * * *", "Europe/Berlin", True)],
            ["schedule 'night' changed: '0 2 * * *' Europe/Berlin, active  ->  '0 3 * * *' Europe/Berlin, active"],
        ),
        (
            "moved",
            [("night", "0 2 * * *", "Asia/Tokyo", True)],
            ["schedule 'night' changed: '0 2 * * *' Europe/Berlin, active  ->  '0 2 * * *' Asia/Tokyo, active"],
        ),
        (
            "without-slug",
            [(None, "30 12 * * *", "UTC", True)],
            [
                "schedule without a slug added: '30 12 * * *' UTC, active",
                "schedule without a slug removed: '0 12 * * *' UTC, active",
            ],
        ),
        (
            "slug-lost",
            [(None, "0 12 * * *", "UTC", True)],
            [
                "schedule 'night' removed: '0 2 * * *' Europe/Berlin, active",
                "schedule without a slug added: '0 12 * * *' UTC, active",
            ],
        ),
        ("silent", [("night", "0 2 * * *", "Europe/Berlin", True)], []),
    ],
)
def test_the_servers_schedules_become_those_of_the_file_with_a_line_for_each_change(
    lines: list[str], deployer: Deployer, name: str, there: list, printed: list
):
    assert deployer.schedules()[name] == there
    assert changes(lines, name) == printed


def test_a_schedule_paused_in_the_dashboard_is_resumed_where_the_file_lists_it_as_active(
    lines: list[str], deployer: Deployer
):
    assert deployer.schedules()["paused"] == [("night", "0 2 * * *", "Europe/Berlin", True)]
    was, is_now = "'0 2 * * *' Europe/Berlin, paused", "'0 2 * * *' Europe/Berlin, active"
    assert changes(lines, "paused") == [f"schedule 'night' changed: {was}  ->  {is_now}"]


def test_a_schedule_paused_in_the_dashboard_stays_so_where_the_file_leaves_that_open(
    lines: list[str], deployer: Deployer
):
    assert deployer.schedules()["left-paused"] == [("night", "0 2 * * *", "Europe/Berlin", False)]
    assert changes(lines, "left-paused") == []


def test_parameters_of_a_schedule_that_the_file_no_longer_has_are_gone(lines: list[str], deployer: Deployer):
    assert [schedule["parameters"] for schedule in deployer.found()["moved"]["schedules"]] == [{}]


def test_a_deployment_that_the_file_no_longer_lists_stays_and_a_line_says_how_to_delete_it(
    lines: list[str], deployer: Deployer
):
    assert deployer.schedules()["gone"] == [("night", "0 2 * * *", "Europe/Berlin", True)]
    assert [line for line in lines if "not in prefect.yaml" in line] == [
        f"Deployment 'verify-dataset/{PREFIX}gone' is not in prefect.yaml, and stays on the server with its schedules: "
        f"1. To delete it, but not the runs it had:  prefect deployment delete 'verify-dataset/{PREFIX}gone'"
    ]


def test_deploying_the_same_file_again_changes_no_schedule(lines: list[str], deployer: Deployer):
    ids = deployer.ids()
    again = deployer.deploy(AFTER)
    assert [line for line in again if line.startswith(" ")] == []
    assert deployer.ids() == ids
