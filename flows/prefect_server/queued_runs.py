"""Names of queued builds: a list of runs shows a waiting one by its dataset, and not by two random words.

Prefect names a run when it begins. Until then it has a random name, unless it was created with one. The event broker
passes every event of a run that waits to this module, within the server.
"""

from __future__ import annotations

import re

from prefect.server import models
from prefect.server.database import provide_database_interface
from prefect.server.events.schemas.events import ReceivedEvent
from prefect.server.schemas.actions import FlowRunUpdate
from prefect.server.utilities.messaging import Message

from imagemill.flows.prefect_server.automations import BUILD_TAG, EVENT
from imagemill.flows.prefect_server.dataset_name import dataset_name

WAITS = frozenset({EVENT + "Scheduled", EVENT + "Late"})
RANDOM_NAME = re.compile(r"[a-z]+-[a-z]+")


async def name_queued_run(message: Message) -> None:
    """Rename the build that this event is about, if it waits under a random name.

    Raises the database's errors, after which it can be called again.
    """
    if (message.attributes or {}).get("event") not in WAITS:
        return
    event = ReceivedEvent.model_validate_json(message.data)
    if f"prefect.tag.{BUILD_TAG}" not in {related.id for related in event.related}:
        return
    run_id = event.resource.prefect_object_id("prefect.flow-run")
    async with provide_database_interface().session_context(begin_transaction=True) as session:
        run = await models.flow_runs.read_flow_run(session, run_id)
        if run is None or run.run_count or not RANDOM_NAME.fullmatch(run.name):
            return
        if name := dataset_name(run.parameters):
            await models.flow_runs.update_flow_run(session, run_id, FlowRunUpdate(name=f"{name}, queued"))
