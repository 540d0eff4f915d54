"""One process that has imported torch and diffusers, from which the workers of a machine without a GPU are forked.

The imports take seconds of a core: they are made once, however many workers there are, and begin before Prefect's.
Imports neither Dask nor torch.
"""

from __future__ import annotations

import multiprocessing
import sys
import threading
from multiprocessing import forkserver

from tasks.gpus import visible_gpus

PRELOAD = "tasks.fork_preload"

_started = threading.Event()
_starting = threading.Lock()


def can_fork(gpus: list[str]) -> bool:
    """Whether worker processes may be forked from one that has imported torch.

    Not on macOS, where Metal does not outlive a fork; and not with a GPU: no library may ever have spoken to its driver
    before the fork, and what is imported there was not seen.
    """
    return sys.platform == "linux" and not gpus


def start_fork_server() -> None:
    """Start the process, once; returns at once. Nothing is done where workers cannot be forked (see can_fork)."""
    with _starting:
        if _started.is_set() or not can_fork(visible_gpus()):
            return
        threading.Thread(target=_serve, daemon=True, name="fork server").start()
        _started.wait()


def _serve() -> None:
    multiprocessing.get_context("forkserver").set_forkserver_preload([PRELOAD])
    forkserver.ensure_running()
    _started.set()
    # The kernel ends the server with the thread that started it (fork_preload.py): this one lives as long as we do.
    threading.Event().wait()
