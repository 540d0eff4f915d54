"""What a worker tells while it draws: not each small batch, since a message goes through three processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

EVERY_SECONDS = 0.5
"""Pictures that are drawn sooner after the last that were told of are told of with the next."""


class Teller:
    """Passes events on; those of drawn pictures that follow each other fast as one, with their sum."""

    def __init__(self, tell: Callable[[dict[str, Any]], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._tell = tell
        self._clock = clock
        self._told = -EVERY_SECONDS
        self._waiting: dict[str, Any] | None = None

    def report(self, event: dict[str, Any]) -> None:
        """Take an event (see tasks.progress.Progress.told)."""
        if event["kind"] != "drawn":
            self._tell(event)
            return
        before = self._waiting["pictures"] if self._waiting else 0
        self._waiting = {**event, "pictures": before + event["pictures"]}
        if self._clock() - self._told >= EVERY_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Tell what waits."""
        if self._waiting:
            self._tell(self._waiting)
            self._told, self._waiting = self._clock(), None
