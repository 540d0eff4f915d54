"""Automations on the Prefect server that restart crashed builds without intervention.

If only the build's process is killed, its worker reports it as Crashed at once. If its worker or the whole machine goes
down too, Prefect keeps the run as Running for ever, with its slot in the queue; only missing heartbeats reveal it.

No automation forces a state. The server then refuses to make a run Crashed that has ended: its last heartbeat may be
delivered after its end, and its end may be delivered late or never (a restart, an event that waits for another). Only a
run that is Crashed is scheduled again, and only runs with these tags.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

BUILD_TAG = "imagemill-build"
"""Tag of the deployments whose crashed runs come back."""
VERIFY_TAG = "imagemill-verify"
"""Tag of the deployments whose runs count as crashed without heartbeats, but do not come back."""
EVENT = "prefect.flow-run."
RESUMES = "It crashed, and resumes from what is finished."
"""Message of the state in which an automation schedules a crashed run again."""
GAVE_UP = "GaveUp"
"""Name of the Crashed state of a build that is not retried."""
CRASHED = EVENT + "Crashed"
PENDING = EVENT + "Pending"
AGAIN = EVENT + "AwaitingRetry"
ENDS = frozenset(EVENT + state for state in ("Completed", "Failed", "Cancelled", "Crashed", GAVE_UP))
BEATS = frozenset({EVENT + "heartbeat"})
GOES_ON = (ENDS - {CRASHED}) | {
    EVENT + state for state in ("AwaitingRetry", "Scheduled", "Pending", "Running", "Cancelling")
}
CRASH_RETRY_DELAY_S = 10
"""Seconds from a crash to the next attempt. Prefect allows no less."""
MAX_CRASHES = 10
"""Retries within CRASH_WINDOW_S after which a build gives up, even if its attempts make progress."""
CRASH_WINDOW_S = 600
PENDING_TIMEOUT_S = 300
"""Seconds from a worker's taking a run to the start of its flow; a process needs a few."""

RETIRED = ("imagemill: a crashed build is to come back", "imagemill: a run that its worker never began waits again")
"""Automations of earlier versions, which `imagemill setup-prefect` deletes."""


def our_automations(silent: timedelta) -> list[AutomationCore]:
    """All of them. ``silent``: time without a heartbeat after which a run has crashed; heartbeats come every 30 s."""
    seconds = f"{silent.total_seconds():.0f} s"
    every_run, builds = (BUILD_TAG, VERIFY_TAG), (BUILD_TAG,)
    return [
        AutomationCore(
            name="imagemill: a run without a heartbeat has crashed",
            description=f"No heartbeat for {seconds}: its process is gone, and the worker that would report it.",
            trigger=_trigger(every_run, Posture.Proactive, BEATS, BEATS | ENDS, silent),
            actions=[_change(StateType.CRASHED, "Crashed", f"No heartbeat for {seconds}: its process is gone.")],
        ),
        AutomationCore(
            name="imagemill: a run that its worker never began has crashed",
            description="The worker ended while it started the run.",
            trigger=_trigger(
                every_run,
                Posture.Proactive,
                frozenset({PENDING}),
                ENDS | {EVENT + "Running", EVENT + "Cancelling", AGAIN},
                timedelta(seconds=PENDING_TIMEOUT_S),
            ),
            actions=[_change(StateType.CRASHED, "Crashed", "The worker that took it never started it.")],
        ),
        AutomationCore(
            name="imagemill: a crashed build comes back",
            # A worker reports a crash twice, seconds apart; without the delay the second would end the next attempt.
            description="Shortly afterwards, when its worker has finished with it. It generates what is missing.",
            trigger=_trigger(
                builds, Posture.Proactive, frozenset({CRASHED}), GOES_ON, timedelta(seconds=CRASH_RETRY_DELAY_S)
            ),
            actions=[_change(StateType.SCHEDULED, "AwaitingRetry", RESUMES)],
        ),
        AutomationCore(
            name="imagemill: a build that crashes at once gives up",
            description="One that crashes before it starts cannot count its own crashes.",
            # When it is to come back once more, and not when it has crashed: a run that has not ended can be Crashed.
            trigger=_trigger(
                builds,
                Posture.Reactive,
                frozenset(),
                frozenset({AGAIN}),
                timedelta(seconds=CRASH_WINDOW_S),
                threshold=MAX_CRASHES,
            ),
            actions=[
                _change(
                    StateType.CRASHED,
                    GAVE_UP,
                    f"It crashed {MAX_CRASHES} times in {CRASH_WINDOW_S / 60:.0f} minutes, so it is not retried "
                    "automatically. The worker's log says what ended its process.",
                )
            ],
        ),
    ]


def _trigger(
    tags: Collection[str],
    posture: Posture,
    after: frozenset[str],
    expect: frozenset[str],
    within: timedelta,
    threshold: int = 1,
) -> EventTrigger:
    return EventTrigger(
        match={"prefect.resource.id": "prefect.flow-run.*"},
        # Any of them.
        match_related={
            "prefect.resource.id": [f"prefect.tag.{tag}" for tag in tags],
            "prefect.resource.role": "tag",
        },
        for_each={"prefect.resource.id"},
        after=set(after),
        expect=set(expect),
        posture=posture,
        threshold=threshold,
        within=within,
    )


def _change(state: StateType, name: str, message: str) -> ChangeFlowRunState:
    return ChangeFlowRunState(state=state, name=name, message=message)
