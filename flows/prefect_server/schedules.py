"""Schedules of the deployments on the server, made equal to those that prefect.yaml lists.

`prefect deploy` adds schedules and changes those whose slug it finds. One whose slug is no longer in the file stays
active, and a schedule without a slug is refused where those on the server have one.

Upstream: https://github.com/PrefectHQ/prefect/issues/23097.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule

PAGE = 200
"""Deployments that the server lists in one answer."""

Deployments = dict[UUID, DeploymentResponse]


def on_server(client: SyncPrefectClient) -> Deployments:
    """All deployments of the server, by id."""
    found: Deployments = {}
    while page := client.read_deployments(limit=PAGE, offset=len(found)):
        found |= {deployment.id: deployment for deployment in page}
    return found


def make_way(client: SyncPrefectClient, entries: Sequence[Mapping[str, Any]], before: Deployments) -> None:
    """Delete the schedules that keep `prefect deploy` from adding one without a slug."""
    for deployment in before.values():
        listed = _entry_of(deployment, entries).get("schedules") or ()
        without = any(not schedule.get("slug") for schedule in listed)
        if without and all(schedule.slug for schedule in deployment.schedules):
            _delete(client, deployment, deployment.schedules)


def make_equal(
    client: SyncPrefectClient, name: str, entries: Sequence[Mapping[str, Any]], before: Deployments
) -> Iterator[str]:
    """Delete what prefect.yaml does not list of a deployment that was just deployed; yields a line for each change.

    ``name``: FLOW/DEPLOYMENT; ``before``: as deployments were before they were deployed. A deployment without the key
    `schedules` in the file keeps those that it has.
    """
    deployment = client.read_deployment_by_name(name)
    listed = _entry_of(deployment, entries).get("schedules")
    now = deployment.schedules
    if listed is not None:
        slugs = {schedule.get("slug") for schedule in listed}
        _delete(client, deployment, [schedule for schedule in now if schedule.slug not in slugs])
        now = [schedule for schedule in now if schedule.slug in slugs]
        parameters = {schedule.get("slug"): schedule.get("parameters") for schedule in listed}
        for schedule in now:
            if schedule.parameters and schedule.slug and not parameters[schedule.slug]:
                client.update_deployment_schedule(deployment.id, schedule.id, parameters={})
    yield from _changes(before[deployment.id].schedules if deployment.id in before else [], now)


def forgotten(client: SyncPrefectClient, names: Sequence[str], before: Deployments) -> Iterator[str]:
    """A line for each deployment that was deployed from the same folder and is no longer in prefect.yaml.

    It stays, since it may be wanted; deleting it keeps its runs.
    """
    deployed = [client.read_deployment_by_name(name) for name in names]
    ids, folders = {deployment.id for deployment in deployed}, [deployment.pull_steps for deployment in deployed]
    for deployment in before.values():
        if deployment.id not in ids and deployment.pull_steps and deployment.pull_steps in folders:
            name = f"{client.read_flow(deployment.flow_id).name}/{deployment.name}"
            yield (
                f"Deployment {name!r} is not in prefect.yaml, and stays on the server with its schedules: "
                f"{len(deployment.schedules)}. To delete it, but not the runs it had:  "
                f"prefect deployment delete {name!r}"
            )


def _entry_of(deployment: DeploymentResponse, entries: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The deployment's entry in prefect.yaml; an empty one if there is none."""
    named = (deployment.name, deployment.entrypoint)
    return next((entry for entry in entries if (entry["name"], entry["entrypoint"]) == named), {})


def _delete(client: SyncPrefectClient, deployment: DeploymentResponse, schedules: Sequence[DeploymentSchedule]) -> None:
    for schedule in schedules:
        client.delete_deployment_schedule(deployment.id, schedule.id)


def _changes(before: Sequence[DeploymentSchedule], now: Sequence[DeploymentSchedule]) -> Iterator[str]:
    was, is_now = ({schedule.slug: _text(schedule) for schedule in some if schedule.slug} for some in (before, now))
    for slug in sorted(is_now.keys() - was.keys()):
        yield f"schedule {slug!r} added: {is_now[slug]}"
    for slug in sorted(was.keys() - is_now.keys()):
        yield f"schedule {slug!r} removed: {was[slug]}"
    for slug in sorted(was.keys() & is_now.keys()):
        if was[slug] != is_now[slug]:
            yield f"schedule {slug!r} changed: {was[slug]}  ->  {is_now[slug]}"
    # Without a slug, a schedule is what it says.
    lost, new = (Counter(_text(schedule) for schedule in some if not schedule.slug) for some in (before, now))
    for text in (new - lost).elements():
        yield f"schedule without a slug added: {text}"
    for text in (lost - new).elements():
        yield f"schedule without a slug removed: {text}"


def _text(schedule: DeploymentSchedule) -> str:
    kind = schedule.schedule
    if isinstance(kind, CronSchedule):
        when = f"{kind.cron!r}"
    elif isinstance(kind, IntervalSchedule):
        when = f"every {kind.interval}"
    else:
        when = f"{kind.rrule!r}"
    return f"{when} {kind.timezone or 'UTC'}, {'active' if schedule.active else 'paused'}"
