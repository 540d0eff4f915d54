"""A worker reports all of its progress, in few events."""

from __future__ import annotations

from typing import Any

from imagemill.tasks.runner.worker import ProgressThrottle


def test_batches_in_quick_succession_are_reported_together_and_none_is_lost():
    emitted: list[dict[str, Any]] = []
    times = iter([0.0, 0.0, 0.1, 0.4, 0.6, 0.6, 0.7, 0.8])
    throttle = ProgressThrottle(emitted.append, lambda: next(times))
    for images in (16, 16, 16, 4):
        throttle.report({"kind": "generated", "model": "m", "images": images})
    throttle.report({"kind": "loaded", "model": "m"})
    throttle.report({"kind": "generated", "model": "m", "images": 8})
    throttle.flush()
    throttle.flush()
    assert [event.get("images") for event in emitted] == [16, 36, None, 8]
