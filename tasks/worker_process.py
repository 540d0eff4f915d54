"""What a worker process does before its first job; Dask calls it (``preload``) in every process it starts.

Imports neither Prefect nor torch.
"""

from __future__ import annotations

import ctypes
import signal
import sys
from typing import Any

from data.under_way import forgive

PR_SET_PDEATHSIG = 1
"""Linux, prctl(2): the signal that this process gets when the one that started it is gone."""


def dask_setup(worker: Any) -> None:
    """Tie this process's life to its parent's, however that ends."""
    # Dask watches its parent in a thread, which a call into a driver can keep from running; the kernel always can.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def dask_teardown(worker: Any) -> None:
    """This process was told to end: its cluster is being closed, or it has lost its scheduler."""
    forgive()
