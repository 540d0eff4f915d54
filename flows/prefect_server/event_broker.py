"""Prefect's own event messaging: what meets a database that is locked, busy or starting waits, and is not dropped.

A server with these settings (this project's prefect.toml has them) uses it:

    PREFECT_SERVER_EVENTS_MESSAGING_BROKER=imagemill.flows.prefect_server.event_broker

Prefect's in-memory consumer tries an event four times without a pause and drops it then. SQLite answers "locked" at
once to a transaction that has read before it writes while another wrote, so a few busy milliseconds lose a crash; and
every later event of that run waits a quarter of an hour for the one that is lost. Trying again is not enough: each try
fires the automations that come first again, and what they do is what writes meanwhile. So a transaction of an event's
takes SQLite's lock when it begins, and waits for it (Prefect's busy_timeout: 60 s). A PostgreSQL that is started again
refuses connections meanwhile. It brings flows/prefect_server/sqlite_patch.py with it. Nothing else is changed.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

from prefect.logging import get_logger
from prefect.server.database.configurations import SQLITE_BEGIN_MODE
from prefect.server.utilities.messaging import Message, MessageHandler, memory
from prefect.server.utilities.messaging.memory import Publisher, break_topic, ephemeral_subscription
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import InterfaceError, OperationalError

import imagemill.flows.prefect_server.sqlite_patch  # noqa: F401 - Prefect imports this module into its server

__all__ = ["Consumer", "Publisher", "break_topic", "ephemeral_subscription"]

BROKER = __name__
"""The value of that setting."""

RETRY_DELAYS_S = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 4, 4, 4, 4, 4, 4)
"""Seconds before each further try; half a minute in all."""

_handles_events: ContextVar[bool] = ContextVar("_handles_events", default=False)


@event.listens_for(Engine, "begin")
def _lock_at_once(_: Connection) -> None:
    # Called before Prefect's own listener, which belongs to one engine and sends "BEGIN" with this mode.
    if _handles_events.get() and SQLITE_BEGIN_MODE.get() == "DEFERRED":
        SQLITE_BEGIN_MODE.set("IMMEDIATE")


class Consumer(memory.Consumer):
    """Prefect's, whose handler gets the time that a database needs."""

    async def run(self, handler: MessageHandler) -> None:
        """Hand every message to the handler, until cancelled."""

        async def patient(message: Message) -> None:
            for retry_delay in RETRY_DELAYS_S:
                try:
                    return await handler(message)
                # What asyncpg says of a connection that it cannot have is no error of SQLAlchemy's.
                except (OperationalError, InterfaceError, OSError) as error:
                    get_logger(__name__).debug("Trying an event again in %s s: %s", retry_delay, error)
                    await asyncio.sleep(retry_delay)
            return await handler(message)

        # Not what carries out actions: that calls the server's API, which may open one transaction within another.
        _handles_events.set(self.topic.name == "events")
        await super().run(patient)
