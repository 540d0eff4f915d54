"""Cancellation of a deployed run: the build sees it itself, and ends within seconds, whatever it still waits for.

Prefect's worker notifies a run that is cancelled. A worker that has lost the server's events, or that was replaced
while the run continued, does not (https://github.com/PrefectHQ/prefect/pull/20219), and the build would run to its end.
So the build polls the state of its run.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.context import FlowRunContext
from prefect.exceptions import Abort, ObjectNotFound, PrefectException, TerminationSignal
from prefect.states import Cancelled

from imagemill.flows.prefect_server.automations import RESUMES

END_TIMEOUT_S = 10.0
"""Seconds from the signal until the process ends in any case. Prefect checks every 3 s and kills it after 30."""

POLL_INTERVAL_S = 5.0
"""Seconds between two polls of a run's state. The second that finds it cancelled ends the build."""

STATE_TIMEOUT_S = 3.0
"""Seconds in which the server must answer a build that is about to end."""

CANCELS = frozenset({StateType.CANCELLING, StateType.CANCELLED})
UNREACHABLE = (httpx.HTTPError, PrefectException, OSError)


class BuildCancelled(Abort):
    """End of a cancelled build. Prefect's engine leaves the state of its run as it is, in the runs around it too."""


class Watch:
    """Poll of a deployed run's state; interrupts the main thread once it is cancelled or deleted.

    ``runs``: the current run and those that it is part of, the deployed one last; none if none is deployed.
    """

    def __init__(self, runs: list[UUID]) -> None:
        self.runs = runs
        self._stop = threading.Event()
        self._is_cancelled = False

    def start(self) -> None:
        """Begin to look."""
        if self.runs:
            threading.Thread(target=self._follow, daemon=True, name="cancellation").start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()

    def is_cancelled(self) -> bool:
        """True if the run is cancelled, by the last poll or by the server's answer now."""
        return self._is_cancelled or (bool(self.runs) and self._looks_cancelled(STATE_TIMEOUT_S))

    def _follow(self) -> None:
        # Twice, so that the worker, which sees it at once if all is well, has time to tell the build.
        times = 0
        while not self._stop.wait(POLL_INTERVAL_S):
            times = times + 1 if self._looks_cancelled() else 0
            if times >= 2 and signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, signal.SIG_IGN, None):
                self._is_cancelled = True
                # Prefect's handler raises TerminationSignal in the main thread.
                os.kill(os.getpid(), signal.SIGTERM)
                return

    def _looks_cancelled(self, timeout_s: float | None = None) -> bool:
        try:
            with get_client(sync_client=True, httpx_settings=_settings(timeout_s)) as client:
                state = client.read_flow_run(self.runs[-1]).state
        except ObjectNotFound:
            # Deleted: nobody waits for it any more.
            return True
        except UNREACHABLE:
            # The next look may find it.
            return False
        return state is not None and state.type in CANCELS


@contextmanager
def ends_in_time() -> Iterator[None]:
    """Context for the long part of a flow: once a signal interrupts it, the rest of the flow gets END_TIMEOUT_S.

    A busy server, or a worker in the middle of a batch, may take longer than a user waits after cancelling. Finished
    images are in complete files, and the workers end with this process. Raises BuildCancelled if the user cancelled the
    run and no worker has notified this process.
    """
    watch = Watch(deployed_runs())
    watch.start()
    try:
        yield
    except TerminationSignal as interrupt:
        if watch.runs:
            timer = threading.Timer(END_TIMEOUT_S, _end, [watch])
            timer.daemon = True
            timer.start()
        if has_cancel_intent() or not watch.is_cancelled():
            raise
        end_cancelled(watch.runs, STATE_TIMEOUT_S)
        raise BuildCancelled("The run is cancelled.") from interrupt
    finally:
        watch.stop()


def _end(watch: Watch) -> None:
    # Prefect's worker reports any code but 0 as a crash, and an automation would then restart the cancelled run.
    if has_cancel_intent():
        os._exit(0)
    if not watch.is_cancelled():
        os._exit(128 + signal.SIGTERM)
    end_cancelled(watch.runs, STATE_TIMEOUT_S)
    os._exit(0)


def end_cancelled(runs: list[UUID], timeout_s: float | None = None) -> None:
    """Set the runs to Cancelled. Where the server does not answer, or knows a run no longer, its state stays."""
    for run in runs:
        try:
            with get_client(sync_client=True, httpx_settings=_settings(timeout_s)) as client:
                client.set_flow_run_state(run, Cancelled(message="Cancelled: finished images and rows are kept."))
        except UNREACHABLE as error:
            get_run_logger().warning("The server did not take the state Cancelled: %s", error)


def end_if_cancelled_before() -> None:
    """Raise BuildCancelled if an automation resumed a run that its user had cancelled.

    Its process ended before the server knew that it was cancelled: killed with its worker, or by it.
    """
    if not (runs := deployed_runs()):
        return
    with get_client(sync_client=True) as client:
        states = sorted(client.read_flow_run_states(runs[-1]), key=lambda state: state.timestamp)
    resumed = max((number for number, state in enumerate(states) if state.message == RESUMES), default=0)
    began = max((number for number in range(resumed) if states[number].type == StateType.RUNNING), default=0)
    if any(state.type in CANCELS for state in states[began:resumed]):
        end_cancelled(runs)
        raise BuildCancelled("The run was cancelled before its process ended.")


def deployed_runs() -> list[UUID]:
    """The current run and those that it is part of, the deployed one last; empty if none of them is deployed."""
    run = FlowRunContext.get().flow_run
    runs = [run.id]
    with get_client(sync_client=True) as client:
        while run.deployment_id is None and run.parent_task_run_id is not None:
            run = client.read_flow_run(client.read_task_run(run.parent_task_run_id).flow_run_id)
            runs.append(run.id)
    return runs if run.deployment_id is not None else []


def has_cancel_intent() -> bool:
    """True if a worker has notified this process that a user cancelled the run.

    False if Prefect does not distinguish cancelling from any other SIGTERM: it keeps the answer in a private module.
    """
    try:
        from prefect._internal.control_listener import get_intent
    except ImportError:
        return False
    return get_intent() == "cancel"


def _settings(timeout_s: float | None) -> dict[str, float] | None:
    return None if timeout_s is None else {"timeout": timeout_s}
