"""Event broker for Prefect's server: Prefect's in-memory one, with events retried while the database is unavailable.

A server uses it with this setting, which the project's prefect.toml has:

    PREFECT_SERVER_EVENTS_MESSAGING_BROKER=imagemill.flows.prefect_server.event_broker

Prefect's consumer tries an event four times without a delay, then drops it. SQLite raises "database is locked" at once
if a transaction reads, another writes, and the first then writes, so a few busy milliseconds can lose a crash; later
events of that run then wait 15 minutes for the lost one. Retries alone do not help: each fires the preceding
automations again, whose actions are the competing writes. So the transaction of an event takes SQLite's lock when it
begins, and waits for it (Prefect's busy_timeout: 60 s). A restarting PostgreSQL refuses connections meanwhile. The
module also imports flows/prefect_server/sqlite_patch.py, and shortens the time that an event waits for the one that it
follows. It passes events of waiting builds to flows/prefect_server/queued_runs.py.

Three of four events of a build are states of its task runs, which Prefect stores twice: as states, which its pages
show, and, at five times the size, as events. The persister of events does not get those of our flows; all others do,
such as automations and `prefect event stream`. Nothing else differs from Prefect's.

Upstream: https://github.com/PrefectHQ/prefect/issues/10188 and https://github.com/PrefectHQ/prefect/issues/18934.
"""

from __future__ import annotations

import asyncio
import json
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

from prefect.logging import get_logger
from prefect.server.database.configurations import SQLITE_BEGIN_MODE
from prefect.server.events.ordering import memory as ordering
from prefect.server.utilities.messaging import Message, MessageHandler, memory
from prefect.server.utilities.messaging.memory import Publisher, break_topic, ephemeral_subscription
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import InterfaceError, OperationalError

import imagemill.flows.prefect_server.sqlite_patch  # noqa: F401 - Prefect imports this module into its server
from imagemill.flows.prefect_server.queued_runs import name_queued_run

__all__ = ["Consumer", "Publisher", "break_topic", "ephemeral_subscription"]

BROKER = __name__
"""Value of that setting."""

RETRY_DELAYS_S = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 4, 4, 4, 4, 4, 4)
"""Seconds before each retry; half a minute in total."""

LEADER_TIMEOUT = timedelta(seconds=60)
"""Most time that an event waits for the one that it follows. Prefect's 15 minutes are for queues of several servers.

A server that was started again has not seen the event before a crash, and a scheduled run's first event follows one
that Prefect never emits: their builds would be restarted a quarter of an hour later.
"""

OUR_FLOWS = frozenset({"build-dataset", "build-images", "verify-dataset"})
"""Flows whose task runs' states are not stored as events too."""

_PERSISTER, _TRIGGERS = "event-persister", "reactive-triggers"

_handles_events: ContextVar[bool] = ContextVar("_handles_events", default=False)


# Both its check of an event's age and its sweep read it when they run.
ordering.PRECEDING_EVENT_LOOKBACK = LEADER_TIMEOUT


@event.listens_for(Engine, "begin")
def _lock_at_once(_: Connection) -> None:
    # Called before Prefect's listener, which belongs to one engine and sends "BEGIN" with this mode.
    if _handles_events.get() and SQLITE_BEGIN_MODE.get() == "DEFERRED":
        SQLITE_BEGIN_MODE.set("IMMEDIATE")


def is_state_of_our_step(message: Message) -> bool:
    """True if an event is a state of a task run of one of our flows."""
    if b'"prefect.task-run.' not in message.data:
        return False
    stored = json.loads(message.data)
    flows = {
        resource.get("prefect.resource.name")
        for resource in stored["related"]
        if resource.get("prefect.resource.role") == "flow"
    }
    return stored["event"].startswith("prefect.task-run.") and bool(flows & OUR_FLOWS)


class Consumer(memory.Consumer):
    """Prefect's consumer, with a handler that is retried while the database is unavailable."""

    def __init__(self, topic: str, group: str | None = None, **options: Any) -> None:
        super().__init__(topic, group=group, **options)
        self._persists = group == _PERSISTER
        # One of the consumers that get each event.
        self._names_runs = group == _TRIGGERS

    async def run(self, handler: MessageHandler) -> None:
        """Pass every message to the handler until cancelled."""

        async def handle(message: Message) -> None:
            if self._persists and is_state_of_our_step(message):
                return
            for retry_delay in RETRY_DELAYS_S:
                try:
                    if self._names_runs:
                        await name_queued_run(message)
                    await handler(message)
                    return
                # asyncpg's connection errors are OSErrors, not SQLAlchemy's.
                except (OperationalError, InterfaceError, OSError) as error:
                    get_logger(__name__).debug("Retrying an event in %s s: %s", retry_delay, error)
                    await asyncio.sleep(retry_delay)
            await handler(message)

        # Not for actions: they call the server's API, which may open one transaction within another.
        _handles_events.set(self.topic.name == "events")
        await super().run(handle)
