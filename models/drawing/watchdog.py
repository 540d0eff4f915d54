"""Watchdog: one thread for all deadlines of this process."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import itemgetter


class _Watchdog:
    """Waits for the next deadline. A timer per batch would be a thread per batch, which is slow to start."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._deadlines: dict[object, tuple[float, Callable[[], None]]] = {}
        self._wakes = 0.0
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(self, seconds: float, late: Callable[[], None]) -> Iterator[None]:
        """Call ``late`` when the block takes longer than this."""
        deadline, mine = time.monotonic() + seconds, object()
        with self._changed:
            self._deadlines[mine] = deadline, late
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, daemon=True, name="watchdog")
                self._thread.start()
            elif deadline < self._wakes:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                del self._deadlines[mine]

    def _watch(self) -> None:
        while True:
            with self._changed:
                self._wakes, late = min(self._deadlines.values(), key=itemgetter(0), default=(math.inf, None))
                left = self._wakes - time.monotonic()
                if left > 0:
                    # A block that ends does not notify: the thread then wakes once without reason.
                    self._changed.wait(None if math.isinf(left) else left)
                    continue
            late()
            return


_watchdog = _Watchdog()

watching = _watchdog.watching
