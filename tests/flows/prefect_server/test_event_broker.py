"""Events are not lost while the server's database is busy or starting."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from prefect.server.database import provide_database_interface
from prefect.server.events.ordering import EventArrivedEarly
from prefect.server.events.ordering.memory import CausalOrdering
from prefect.server.events.schemas.events import ReceivedEvent
from prefect.server.utilities.messaging import MessageHandler
from prefect.server.utilities.messaging.memory import Cache
from prefect.settings import PREFECT_SERVER_DATABASE_CONNECTION_URL, temporary_settings
from sqlalchemy import text
from sqlalchemy.exc import InterfaceError, OperationalError

from imagemill.flows.prefect_server.event_broker import Consumer, Publisher

BUSY = [
    OperationalError("select 1", {}, Exception("database is locked")),
    InterfaceError("select 1", {}, Exception("connection is closed")),
    ConnectionRefusedError("PostgreSQL is starting"),
    TimeoutError("PostgreSQL is busy"),
]


@pytest.mark.parametrize("error", BUSY, ids=lambda error: type(error).__name__)
def test_an_event_is_retried_longer_than_prefect_would(error: Exception):
    tries = []

    async def handle(message: object) -> None:
        tries.append(message)
        # Prefect tries four times.
        if len(tries) < 6:
            raise error

    deliver(handle, lambda: len(tries) == 6)


def test_an_events_transaction_may_read_before_it_writes_beside_another_writer(tmp_path: Path):
    database, tries = tmp_path / "server.db", []
    with closing(sqlite3.connect(database, timeout=0)) as other, other:
        other.execute("create table counted (by text)")

    async def handle(message: object) -> None:
        tries.append(message)
        async with provide_database_interface().session_context(begin_transaction=True) as session:
            await session.execute(text("select * from counted"))
            with closing(sqlite3.connect(database, timeout=0)) as other:
                try:
                    other.execute("insert into counted values ('another')")
                    other.commit()
                except sqlite3.OperationalError:
                    # The event holds the lock, and this connection has no timeout.
                    pass
            await session.execute(text("insert into counted values ('an event')"))
        done.append(message)

    done: list[object] = []
    with temporary_settings({PREFECT_SERVER_DATABASE_CONNECTION_URL: f"sqlite+aiosqlite:///{database}"}):
        deliver(handle, lambda: done)
    assert len(tries) == 1


def deliver(handle: MessageHandler, done: Callable[[], object]) -> None:
    """Pass one event to the handler, as Prefect's server does, until ``done()``."""

    async def run() -> None:
        consumer = Consumer("events")
        running = asyncio.create_task(consumer.run(handle))
        async with Publisher("events", Cache()) as publisher:
            await publisher.publish_data(b"an event", {})
        while not done():
            await asyncio.sleep(0.01)
        running.cancel()

    asyncio.run(asyncio.wait_for(run(), 300))


@pytest.mark.parametrize(("seconds", "waits"), [(50, True), (70, False)])
def test_an_event_waits_a_minute_for_the_one_that_it_follows(seconds: int, waits: bool):
    follower = ReceivedEvent(
        occurred=datetime.now(UTC),
        received=datetime.now(UTC) - timedelta(seconds=seconds),
        event="prefect.flow-run.Crashed",
        resource={"prefect.resource.id": "prefect.flow-run.one"},
        id=uuid4(),
        follows=uuid4(),
    )
    with pytest.raises(EventArrivedEarly) if waits else nullcontext():
        asyncio.run(CausalOrdering("test").wait_for_leader(follower))
