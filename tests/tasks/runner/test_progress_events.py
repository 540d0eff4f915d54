"""What a worker tells of its progress: all of it, in few messages."""

from __future__ import annotations

from typing import Any

from imagemill.tasks.runner.worker import ProgressThrottle


def test_batches_that_follow_each_other_fast_are_told_of_together_and_none_is_left_out():
    told: list[dict[str, Any]] = []
    times = iter([0.0, 0.0, 0.1, 0.4, 0.6, 0.6, 0.7, 0.8])
    throttle = ProgressThrottle(told.append, lambda: next(times))
    for images in (16, 16, 16, 4):
        throttle.report({"kind": "generated", "model": "m", "images": images})
    throttle.report({"kind": "loaded", "model": "m"})
    throttle.report({"kind": "generated", "model": "m", "images": 8})
    throttle.flush()
    throttle.flush()
    assert [event.get("images") for event in told] == [16, 36, None, 8]
