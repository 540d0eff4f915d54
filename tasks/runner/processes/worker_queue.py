"""Queue between a nanny and its worker process, over a pipe alone.

Python's own queue has three named semaphores in /dev/shm, which Dask makes for every worker. They stay there if a build
is killed together with the process that Python keeps for removing them.
"""

from __future__ import annotations

import queue
import threading
from multiprocessing.connection import Connection
from typing import Any


class WorkerQueue:
    """The part of multiprocessing.Queue that a nanny uses. Each end is used by one process only."""

    def __init__(self, reader: Connection, writer: Connection) -> None:
        self._reader, self._writer = reader, writer
        self._is_closed = False
        self._writing = threading.Lock()

    def put(self, item: Any) -> None:
        """Send an item. Raises ValueError if the queue is closed in this process."""
        with self._writing:
            if self._is_closed:
                raise ValueError("the queue is closed")
            self._writer.send(item)

    def get(self) -> Any:
        """Wait for an item."""
        return self._reader.recv()

    def get_nowait(self) -> Any:
        """An item that has arrived. Raises queue.Empty if there is none."""
        if not self._reader.poll():
            raise queue.Empty
        return self._reader.recv()

    def close(self) -> None:
        """Put nothing more from this process. Earlier messages can still be read."""
        with self._writing:
            self._is_closed = True

    def join_thread(self) -> None:
        """Do nothing: items are sent at once, not by a thread."""

    def __reduce__(self) -> tuple[type[WorkerQueue], tuple[Connection, Connection]]:
        return type(self), (self._reader, self._writer)
