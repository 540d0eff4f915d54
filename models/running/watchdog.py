"""Watchdog: one thread for all deadlines of this process."""

from __future__ import annotations

import faulthandler
import math
import os
import sys
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


@contextmanager
def time_limit(seconds: float, on_lost: Callable[[str], None]) -> Iterator[None]:
    """End this process when the block takes longer, after ``on_lost(reason)``: a call that hangs cannot be stopped."""

    def end() -> None:
        on_lost(f"a batch took longer than recipe.batch_timeout, {seconds:g} s")
        os._exit(1)

    # A call that holds Python's global lock keeps the watchdog from running, but not this.
    faulthandler.dump_traceback_later(seconds + 5, exit=True, file=sys.__stderr__)
    try:
        with watching(seconds, end):
            yield
    finally:
        faulthandler.cancel_dump_traceback_later()
