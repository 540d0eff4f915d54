"""Numbers of a build's shards on the dashboard: a run that is tried again continues the count."""

from __future__ import annotations

from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    TaskRunFilter,
    TaskRunFilterName,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.runtime import flow_run


def shards_before() -> int:
    """Number of shards that earlier attempts of this flow run have written, by its task runs.

    Only a run that is tried again asks the server. Its plan is of the missing rows alone, and would begin at 1 again.
    """
    if not flow_run.run_count or flow_run.run_count < 2:
        return 0
    this_run = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(str(flow_run.id))]))
    completed = TaskRunFilterState(type=TaskRunFilterStateType(any_=[StateType.COMPLETED]))
    written = TaskRunFilter(name=TaskRunFilterName(like_="write "), state=completed)
    body = {
        "flow_runs": this_run.model_dump(mode="json", exclude_unset=True),
        "task_runs": written.model_dump(mode="json", exclude_unset=True),
    }
    try:
        with get_client(sync_client=True) as client:
            return int(client.request("POST", "/task_runs/count", json=body).json())
    except httpx.HTTPError as error:
        # Names are not worth a build.
        get_run_logger().warning("The shards are numbered from 1 again: %s: %s", type(error).__name__, error)
        return 0
