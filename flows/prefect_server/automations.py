"""The automations of the server that bring a crashed build back, with nobody there to do it.

A build that is killed alone is seen to end by its worker, and is Crashed at once. One that dies with its worker, or
with the whole machine, stays Running for ever in Prefect's eyes, and keeps its place in the queue: what gives it away
is that its heartbeats stop.
"""

from __future__ import annotations

from datetime import timedelta

from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

EVENT = "prefect.flow-run."
GAVE_UP = "GaveUp"
"""Name of the state, by type Crashed, of a build that is not tried again."""
COMING_BACK = "ComingBack"
"""Name of the state, by type Crashed, of a build that will be."""
CRASHED = EVENT + "Crashed"
ENDS = frozenset(EVENT + state for state in ("Completed", "Failed", "Cancelled", "Crashed", GAVE_UP, COMING_BACK))
BEATS = frozenset({EVENT + "heartbeat"})
PENDING = EVENT + "Pending"
GOES_ON = frozenset(
    EVENT + state for state in ("AwaitingRetry", "Pending", "Running", "Cancelling", "Cancelled", GAVE_UP)
)
WIND_UP = timedelta(seconds=10)
"""How long a crashed run waits. Prefect allows no less."""
OFTEN, TOO_OFTEN = timedelta(minutes=10), 10
"""A build that crashes so often in that time gives up, whatever it has to show."""
NEVER_BEGAN = timedelta(minutes=5)
"""How long a run may be with a worker before its flow begins: a process needs some seconds."""


def our_automations(silent: timedelta) -> list[AutomationCore]:
    """All of them. ``silent``: how long a run may go without a heartbeat; three of Prefect's, which come every 30 s."""
    seconds = f"{silent.total_seconds():.0f} s"
    return [
        AutomationCore(
            name="imagemill: a run without a heartbeat has crashed",
            description=f"Its process, and the worker that would have told of it, are gone for {seconds}.",
            trigger=_trigger("imagemill", Posture.Proactive, BEATS, BEATS | ENDS, silent),
            actions=[_change(StateType.CRASHED, "Crashed", f"No heartbeat for {seconds}: its process is gone.")],
        ),
        AutomationCore(
            name="imagemill: a run that its worker never began waits again",
            description="The worker died while it started the run.",
            trigger=_trigger(
                "imagemill",
                Posture.Proactive,
                frozenset({PENDING}),
                ENDS | {EVENT + "Running", EVENT + "Cancelling", EVENT + "AwaitingRetry"},
                NEVER_BEGAN,
            ),
            actions=[_change(StateType.SCHEDULED, "AwaitingRetry", "The worker that had it never began it.")],
        ),
        AutomationCore(
            name="imagemill: a crashed build is to come back",
            description="The build itself gives up where crashes bring nothing new.",
            trigger=_trigger("build", Posture.Reactive, frozenset(), frozenset({CRASHED}), timedelta(0)),
            actions=[_change(StateType.CRASHED, COMING_BACK, "It crashed, and is to go on from what is finished.")],
        ),
        AutomationCore(
            name="imagemill: a crashed build comes back",
            # A worker reports a crash twice, some seconds apart: the second would end the next attempt.
            description="A little later, when its worker is done with it. It generates what is missing.",
            trigger=_trigger("build", Posture.Proactive, frozenset({EVENT + COMING_BACK}), GOES_ON, WIND_UP),
            actions=[_change(StateType.SCHEDULED, "AwaitingRetry", "It crashed, and goes on from what is finished.")],
        ),
        AutomationCore(
            name="imagemill: a build that crashes at once gives up",
            description="One that cannot even begin does not count its own crashes.",
            trigger=_trigger(
                "build", Posture.Reactive, frozenset(), frozenset({EVENT + COMING_BACK}), OFTEN, threshold=TOO_OFTEN
            ),
            actions=[
                _change(
                    StateType.CRASHED,
                    GAVE_UP,
                    f"It crashed {TOO_OFTEN} times in {OFTEN.total_seconds() / 60:.0f} minutes: it is not tried again "
                    "by itself. The worker's log says what ended its process.",
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
