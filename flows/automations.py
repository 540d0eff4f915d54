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

ENDS = frozenset(f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed", "GaveUp"))
BEATS = frozenset({"prefect.flow-run.heartbeat"})
PENDING = "prefect.flow-run.Pending"
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
                ENDS | {"prefect.flow-run.Running", "prefect.flow-run.Cancelling"},
                NEVER_BEGAN,
            ),
            actions=[_change(StateType.SCHEDULED, "AwaitingRetry", "The worker that had it never began it.")],
        ),
        AutomationCore(
            name="imagemill: a crashed build goes on",
            description="It draws what is missing. The build itself gives up where crashes bring nothing new.",
            # Only after it ran: one that cannot even begin would else crash and come back for ever.
            trigger=_trigger(
                "build",
                Posture.Reactive,
                frozenset({"prefect.flow-run.Running"}),
                frozenset({"prefect.flow-run.Crashed"}),
                timedelta(days=30),
            ),
            actions=[_change(StateType.SCHEDULED, "AwaitingRetry", "It crashed, and goes on from what is finished.")],
        ),
    ]


def _trigger(
    tag: str, posture: Posture, after: frozenset[str], expect: frozenset[str], within: timedelta
) -> EventTrigger:
    return EventTrigger(
        match={"prefect.resource.id": "prefect.flow-run.*"},
        match_related={"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"},
        for_each={"prefect.resource.id"},
        after=set(after),
        expect=set(expect),
        posture=posture,
        threshold=1,
        within=within,
    )


def _change(state: StateType, name: str, message: str) -> ChangeFlowRunState:
    return ChangeFlowRunState(state=state, name=name, message=message, force=True)
