"""SQLite in Prefect's server: a cursor whose statement failed is closed at once, and not by the garbage collector.

Importing this arranges it for every SQLite connection that SQLAlchemy's asynchronous engines have in the process.

A cursor of Python's sqlite3 keeps a statement that failed until it is closed or freed; SQLAlchemy (2.0) does not close
it, and the error's traceback holds it in a cycle. The garbage collector may come to it in the thread of the server's
event loop, and to free the statement it needs the connection's mutex (sqlite3_reset), which SQLite holds while another
statement of that connection waits for the database's lock. Where the lock's holder needs the loop to run, the whole
server stands still until that wait ends (Prefect's busy_timeout: 60 s).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import wraps
from typing import Any

from aiosqlite import Cursor


def _closing(method: Callable[..., Awaitable[Cursor]]) -> Callable[..., Awaitable[Cursor]]:
    @wraps(method)
    async def execute(cursor: Cursor, *statement: Any) -> Cursor:
        try:
            return await method(cursor, *statement)
        except sqlite3.Error:
            # Where the connection is closed, so is the cursor, and to say so must not hide the error.
            with suppress(sqlite3.Error, ValueError):
                await cursor.close()
            raise

    return execute


# In place of aiosqlite's own and not by a hook of SQLAlchemy's at connecting: when Prefect imports this, its engine has
# connections already, and keeps them.
Cursor.execute = _closing(Cursor.execute)
Cursor.executemany = _closing(Cursor.executemany)
