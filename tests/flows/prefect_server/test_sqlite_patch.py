from __future__ import annotations

import asyncio
import gc
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

import imagemill.flows.prefect_server.sqlite_patch  # noqa: F401 - what is tried here


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Garbage stays until a test collects it."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
def test_a_failed_statement_does_not_hold_up_the_event_loop_while_its_connection_waits_for_the_lock(
    tmp_path: Path,
) -> None:
    database = tmp_path / "server.db"

    async def run() -> None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{database}", connect_args={"timeout": 5})
        async with engine.connect() as connection:
            await fail(connection)
            with closing(sqlite3.connect(database, isolation_level=None)) as other:
                other.execute("begin immediate")
                begun = threading.Event()
                raw = await connection.get_raw_connection()
                await raw.driver_connection.set_trace_callback(lambda _: begun.set())
                waiting = asyncio.create_task(connection.execute(text("create table waited (x)")))
                await asyncio.to_thread(begun.wait)
                # Where the loop stands here, the lock is not given back in time.
                gc.collect()
                other.execute("rollback")
            await waiting
        await engine.dispose()

    asyncio.run(run())


async def fail(connection: AsyncConnection) -> None:
    """A statement fails, and a cycle keeps its exception."""
    await connection.execute(text("create table filled (x unique)"))
    with pytest.raises(IntegrityError) as raised:
        await connection.execute(text("insert into filled values (1), (1)"))
    cycle: list[object] = [raised.value]
    cycle.append(cycle)
    await connection.rollback()
