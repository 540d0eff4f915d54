"""Crash recovery of a run: a new attempt waits for the folder, and gives up when attempts make no progress."""

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
from imagemill.data.messages import shown_path
from imagemill.flows.prefect_server.automations import GAVE_UP

POLL_INTERVAL_S = 2.0
"""Seconds between two attempts to lock the folder."""


@contextmanager
def lock_dataset(folder: Folder, name: str) -> Iterator[None]:
    """Lock the folder for a build of ``name``. Raises FolderInUse on a run's first attempt; later ones wait.

    A run counts as crashed when its heartbeats stop. It may have lost only the server and still be building: the next
    attempt then finds the folder locked, and complete once it is free.
    """
    with ExitStack() as stack:
        is_logged = False
        while True:
            try:
                stack.enter_context(folder.lock(name))
                break
            except FolderInUse as error:
                if (flow_run.run_count or 1) < 2:
                    raise
                if not is_logged:
                    get_run_logger().info("Waiting for the folder, which the previous attempt may hold: %s", error)
                is_logged = True
                time.sleep(POLL_INTERVAL_S)
        yield


def gave_up_state(folder: Folder) -> State | None:
    """The state to end in after MAX_ATTEMPTS attempts without progress; None before.

    Its type is Crashed; its name keeps the automations from starting another attempt.
    """
    if deployment.id is None or record_attempt(folder, str(flow_run.id)) < MAX_ATTEMPTS:
        return None
    reset_attempts(folder)
    message = (
        f"This build has crashed {MAX_ATTEMPTS} times in a row without finishing another image or file, so it is not "
        f"retried automatically. Finished rows are kept in {shown_path(folder.root)}. The worker's log says what "
        "ended its "
        "process (often: out of memory). Fix that and retry this run, or start another."
    )
    return State(type=StateType.CRASHED, name=GAVE_UP, message=message)
