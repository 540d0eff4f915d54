"""What a worker tells of its progress: all of it, in few messages."""

from __future__ import annotations

from typing import Any

from imagemill.tasks.runner.worker import Teller


def test_batches_that_follow_each_other_fast_are_told_of_together_and_none_is_left_out():
    told: list[dict[str, Any]] = []
    times = iter([0.0, 0.0, 0.1, 0.4, 0.6, 0.6, 0.7, 0.8])
    teller = Teller(told.append, lambda: next(times))
    for pictures in (16, 16, 16, 4):
        teller.report({"kind": "drawn", "model": "m", "pictures": pictures})
    teller.report({"kind": "loaded", "model": "m"})
    teller.report({"kind": "drawn", "model": "m", "pictures": 8})
    teller.flush()
    teller.flush()
    assert [event.get("pictures") for event in told] == [16, 36, None, 8]
