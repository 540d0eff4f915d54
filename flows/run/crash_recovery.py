"""A run that begins again after a crash: it waits for the folder, and gives up where crashes bring nothing new."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from prefect import get_run_logger
from prefect.client.schemas.objects import State, StateType
from prefect.runtime import deployment, flow_run

from imagemill.data.dataset.attempts import MAX_ATTEMPTS, record_attempt, reset_attempts
from imagemill.data.dataset.folder import Folder
from imagemill.data.errors import FolderInUse
from imagemill.flows.prefect_server.automations import GAVE_UP

POLL_INTERVAL_S = 2
"""How often a run looks whether the folder is free now."""


@contextmanager
def lock_dataset(folder: Folder, name: str) -> Iterator[None]:
    """Hold the folder for a build of ``name``. Raises FolderInUse, but where this run has begun before: it waits then.

    A run counts as crashed when its heartbeats stop. It may only have been cut off from the server, and go on: its next
    attempt then finds the folder held, and all of it built when it is free.
    """
    with ExitStack() as held:
        told = False
        while True:
            try:
                held.enter_context(folder.lock(name))
                break
            except FolderInUse as error:
                if (flow_run.run_count or 1) < 2:
                    raise
                if not told:
                    get_run_logger().info("Waiting for this run's last attempt, or whoever it is, to end: %s", error)
                told = True
                time.sleep(POLL_INTERVAL_S)
        yield


def gave_up_state(folder: Folder) -> State | None:
    """The state to end in where this run has crashed too often with nothing to show for it, else None.

    It is a crash by type; by its name no automation takes it for one that is worth another attempt.
    """
    if deployment.id is None or record_attempt(folder, str(flow_run.id)) < MAX_ATTEMPTS:
        return None
    reset_attempts(folder)
    message = (
        f"This build has crashed {MAX_ATTEMPTS} times in a row, and none of these attempts has finished an image or a file "
        f"more: it is not tried again by itself. What is finished is kept in {str(folder.root)!r}. The worker's log "
        "says what ended its process (often: no memory left). Mend that and retry this run, or start another."
    )
    return State(type=StateType.CRASHED, name=GAVE_UP, message=message)
