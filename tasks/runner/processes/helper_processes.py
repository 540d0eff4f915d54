"""End of the processes that multiprocessing starts beside a program's own: its fork server and its resource tracker.

They end once the program's end of a pipe is closed, which the kernel does at its exit. That takes them some
hundredths of a second, in which a script that counts processes, or removes the folder, still finds them.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from multiprocessing import forkserver, resource_tracker

END_TIMEOUT_S = 2.0
"""Longest wait for their end: a process that was started by the program, and outlives it, keeps them alive."""


def end_helper_processes() -> None:
    """End both, if they run, and wait for it; for the last moment of a program."""
    # A thread, since waiting for a process has no time limit.
    thread = threading.Thread(target=_end, daemon=True, name="end helpers")
    thread.start()
    thread.join(END_TIMEOUT_S)


def _end() -> None:
    # Private, but multiprocessing has no other way; its own tests end them so.
    # The fork server's socket may be gone, with the folder for temporary files.
    with suppress(FileNotFoundError):
        forkserver._forkserver._stop()  # type: ignore[attr-defined]
    resource_tracker._resource_tracker._stop()  # type: ignore[attr-defined]
