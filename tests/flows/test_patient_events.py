from __future__ import annotations

import asyncio

import pytest
from prefect.server.utilities.messaging.memory import Cache
from sqlalchemy.exc import InterfaceError, OperationalError

from flows.patient_events import Consumer, Publisher

BUSY = [
    OperationalError("select 1", {}, Exception("database is locked")),
    InterfaceError("select 1", {}, Exception("connection is closed")),
    ConnectionRefusedError("PostgreSQL is starting"),
    TimeoutError("PostgreSQL is busy"),
]


@pytest.mark.parametrize("error", BUSY, ids=lambda error: type(error).__name__)
def test_an_event_waits_for_a_database_that_is_busy_longer_than_prefect_tries(error: Exception):
    tries = []

    async def handle(message: object) -> None:
        tries.append(message)
        # Prefect tries four times.
        if len(tries) < 6:
            raise error

    async def deliver() -> None:
        consumer = Consumer("a-topic")
        running = asyncio.create_task(consumer.run(handle))
        async with Publisher("a-topic", Cache()) as publisher:
            await publisher.publish_data(b"an event", {})
        while len(tries) < 6:
            await asyncio.sleep(0.01)
        running.cancel()

    asyncio.run(asyncio.wait_for(deliver(), 60))
    assert len(tries) == 6
