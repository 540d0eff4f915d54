"""Environment of torch's OpenMP threads in a worker: how long a thread that has no work spins before it sleeps.

OpenMP's default spins for milliseconds, and takes the cores from other work. Threads that sleep at once lose time on a
quiet machine. docs/performance.md has the figures of both.
"""

from __future__ import annotations

import os

SPIN_COUNT = 1000
"""Rounds of GNU's OpenMP, which torch's wheels for Linux contain, until a waiting thread sleeps (GOMP_SPINCOUNT)."""


def wait_policy() -> dict[str, str]:
    """Variables to add to a worker's environment; none if the user has set one of them."""
    if "OMP_WAIT_POLICY" in os.environ or "GOMP_SPINCOUNT" in os.environ:
        return {}
    return {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": str(SPIN_COUNT)}
