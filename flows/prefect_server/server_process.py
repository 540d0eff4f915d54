"""Process of a temporary Prefect server: serves on a socket that it is handed, ends with the process that started it.

Called as `python -P -m imagemill.flows.prefect_server.server_process` with file descriptors of the socket, of a pipe
that closes when that process ends, and of a pipe for READY or the reason of a failure, and that process's pid.
Importing this module imports nothing heavy: the process watches over its parent before Prefect's seconds of imports.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

from imagemill.tasks.runner.processes.fast_imports import fast_imports

READY = "ready"

LOCK = "temporary-server.lock"
"""File in PREFECT_HOME, locked while a server starts."""

POLL_INTERVAL_S = 1.0
"""Seconds between two checks of the parent's pid, in case another process holds its end of the pipe."""

END_TIMEOUT_S = 10.0
"""Seconds from the parent's end to this process's end in any case."""

EVENTS_TIMEOUT_S = 5.0
"""Seconds at the end for the events that wait in memory."""

MAX_REASON = 300
"""Characters of a failure's reason."""


def main() -> None:
    """Serve until SIGTERM, or until the parent ends."""
    listener, alive, ready, parent = map(int, sys.argv[1:])
    # The parent may ignore it, which is inherited.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, args=(alive, parent), daemon=True).start()
    with _reported(ready):
        _serve(socket.socket(fileno=listener), ready)


def _end_with_parent(alive: int, parent: int) -> None:
    while os.getppid() == parent and not select.select([alive], [], [], POLL_INTERVAL_S)[0]:
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(END_TIMEOUT_S)
    os._exit(1)


def _serve(listener: socket.socket, ready: int) -> None:
    with fast_imports():
        import uvicorn
        from filelock import FileLock
        from prefect.server.api.server import create_app
        from prefect.settings import get_current_settings
        from starlette.middleware.trustedhost import TrustedHostMiddleware

        app = create_app()

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            os.write(ready, f"{READY}\n".encode())

    prefects = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        with _reported(ready):
            async with AsyncExitStack() as running:
                # Two servers that create the tables of one database hinder each other.
                with FileLock(get_current_settings().home / LOCK):
                    await running.enter_async_context(prefects(app))
                yield
                await _events_handled()

    app.router.lifespan_context = lifespan
    # A web page whose host name was pointed at this machine is refused, too.
    hosted = TrustedHostMiddleware(app, allowed_hosts=["127.0.0.1"])
    config = uvicorn.Config(hosted, log_config=None, access_log=False, timeout_graceful_shutdown=3)
    Server(config).run(sockets=[listener])


async def _events_handled() -> None:
    """Wait for the events in memory to be taken: Prefect's services drop them when they stop."""
    from prefect.server.utilities.messaging.memory import Topic

    deadline = time.monotonic() + EVENTS_TIMEOUT_S
    while time.monotonic() < deadline and any(
        subscription._queue.qsize() or subscription._retry.qsize()
        for topic in Topic._topics.values()
        for subscription in topic._subscriptions
    ):
        await asyncio.sleep(0.02)


@contextmanager
def _reported(ready: int) -> Iterator[None]:
    """Send the reason of a failure to the parent."""
    try:
        yield
    except Exception as error:
        os.write(ready, f"{_reason(error)}\n".encode())
        raise


def _reason(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    # SQLAlchemy's errors repeat the statement; the driver's do not.
    error = getattr(error, "orig", None) or error
    text = " ".join(str(error).split()) or type(error).__name__
    if text.startswith("Can't locate revision"):
        from prefect import __version__

        return f"its database was written by a newer Prefect than {__version__}"
    return text[:MAX_REASON]


if __name__ == "__main__":
    main()
