"""Automations on the Prefect server that restart crashed builds without intervention.

If only the build's process is killed, its worker reports it as Crashed at once. If its worker or the whole machine goes
down too, Prefect keeps the run as Running for ever, with its slot in the queue; only missing heartbeats reveal it.
"""

from __future__ import annotations

from datetime import timedelta

from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

EVENT = "prefect.flow-run."
GAVE_UP = "GaveUp"
"""Name of the Crashed state of a build that is not retried."""
COMING_BACK = "ComingBack"
"""Name of the Crashed state of a build that will be retried."""
CRASHED = EVENT + "Crashed"
ENDS = frozenset(EVENT + state for state in ("Completed", "Failed", "Cancelled", "Crashed", GAVE_UP, COMING_BACK))
BEATS = frozenset({EVENT + "heartbeat"})
PENDING = EVENT + "Pending"
GOES_ON = frozenset(
    EVENT + state for state in ("AwaitingRetry", "Pending", "Running", "Cancelling", "Cancelled", GAVE_UP)
)
CRASH_RETRY_DELAY_S = 10
"""Seconds from a crash to the next attempt. Prefect allows no less."""
MAX_CRASHES = 10
"""Crashes within CRASH_WINDOW_S after which a build gives up, even if its attempts make progress."""
CRASH_WINDOW_S = 600
PENDING_TIMEOUT_S = 300
"""Seconds from a worker's taking a run to the start of its flow; a process needs a few."""


def our_automations(silent: timedelta) -> list[AutomationCore]:
    """All of them. ``silent``: time without a heartbeat after which a run has crashed; heartbeats come every 30 s."""
    seconds = f"{silent.total_seconds():.0f} s"
    return [
        AutomationCore(
            name="imagemill: a run without a heartbeat has crashed",
            description=f"No heartbeat for {seconds}: its process is gone, and the worker that would report it.",
            trigger=_trigger("imagemill", Posture.Proactive, BEATS, BEATS | ENDS, silent),
            actions=[_change(StateType.CRASHED, "Crashed", f"No heartbeat for {seconds}: its process is gone.")],
        ),
        AutomationCore(
            name="imagemill: a run that its worker never began waits again",
            description="The worker ended while it started the run.",
            trigger=_trigger(
                "imagemill",
                Posture.Proactive,
                frozenset({PENDING}),
                ENDS | {EVENT + "Running", EVENT + "Cancelling", EVENT + "AwaitingRetry"},
                timedelta(seconds=PENDING_TIMEOUT_S),
            ),
            actions=[_change(StateType.SCHEDULED, "AwaitingRetry", "The worker that took it never started it.")],
        ),
        AutomationCore(
            name="imagemill: a crashed build is to come back",
            description="The build itself gives up when its attempts make no progress.",
            trigger=_trigger("build", Posture.Reactive, frozenset(), frozenset({CRASHED}), timedelta(0)),
            actions=[_change(StateType.CRASHED, COMING_BACK, "It crashed, and will resume from what is finished.")],
        ),
        AutomationCore(
            name="imagemill: a crashed build comes back",
            # A worker reports a crash twice, seconds apart; without the delay the second would end the next attempt.
            description="Shortly afterwards, when its worker has finished with it. It generates what is missing.",
            trigger=_trigger(
                "build",
                Posture.Proactive,
                frozenset({EVENT + COMING_BACK}),
                GOES_ON,
                timedelta(seconds=CRASH_RETRY_DELAY_S),
            ),
            actions=[_change(StateType.SCHEDULED, "AwaitingRetry", "It crashed, and resumes from what is finished.")],
        ),
        AutomationCore(
            name="imagemill: a build that crashes at once gives up",
            description="One that crashes before it starts cannot count its own crashes.",
            trigger=_trigger(
                "build",
                Posture.Reactive,
                frozenset(),
                frozenset({EVENT + COMING_BACK}),
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
    tag: str, posture: Posture, after: frozenset[str], expect: frozenset[str], within: timedelta, threshold: int = 1
) -> EventTrigger:
    return EventTrigger(
        match={"prefect.resource.id": "prefect.flow-run.*"},
        match_related={"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"},
        for_each={"prefect.resource.id"},
        after=set(after),
        expect=set(expect),
        posture=posture,
        threshold=threshold,
        within=within,
    )


def _change(state: StateType, name: str, message: str) -> ChangeFlowRunState:
    return ChangeFlowRunState(state=state, name=name, message=message, force=True)
