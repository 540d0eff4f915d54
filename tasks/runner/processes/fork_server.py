"""Fork server: one process with torch and diffusers imported, from which workers on a machine without a GPU are forked.

The imports take seconds of a core. They are made once for all workers, and begin before Prefect's own.
This module imports neither Dask nor torch.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import forkserver
from pathlib import Path

from imagemill.data.storage.scratch import socket_folder
from imagemill.tasks.runner.gpus import visible_gpus
from imagemill.tasks.runner.processes.safe_path import safe_path

PRELOAD = "imagemill.tasks.runner.processes.fork_preload"

UNSET = "IMAGEMILL_UNSET"
"""Environment variable of a worker: names of those that it must not have, joined by "="."""

_changing = threading.Lock()
_server: _Server | None = None


def can_fork(gpus: list[str]) -> bool:
    """True if worker processes can be forked from one that has imported torch.

    Not on macOS, where Metal does not survive a fork. Not with a GPU: its driver must be uninitialised at the fork, and
    whether the imports leave it so was not checked.
    """
    return sys.platform == "linux" and not gpus


def start_fork_server() -> None:
    """Start the process if there is none and workers can be forked (see can_fork). Does not wait for its imports."""
    global _server
    with _changing:
        if _server is None and can_fork(visible_gpus()):
            server = _Server()
            server.start()
            _server = server


def unset_variables() -> dict[str, str]:
    """For a worker's environment: the variables that were removed since the process from which it is forked began."""
    removed = _server.variables - set(os.environ) if _server is not None else ()
    return {UNSET: "=".join(sorted(removed))} if removed else {}


def stop_fork_server() -> None:
    """End the process, if there is one: no worker will be forked."""
    global _server
    with _changing:
        if _server is not None:
            _server.stop()
            _server = None


@contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """Move the files that multiprocessing makes, such as a socket: in its own folder they outlive a killed build."""
    # Private, but passed on to every process that multiprocessing starts.
    settings = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    before = settings.get("tempdir")
    settings["tempdir"] = str(folder)
    try:
        yield
    finally:
        settings["tempdir"] = before


class _Server:
    """The process. The kernel ends it with the thread that started it (fork_preload.py), so that thread lives on."""

    def __init__(self) -> None:
        self._up, self._unwanted = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._hold, daemon=True, name="fork server")

    def start(self) -> None:
        self.variables = frozenset(os.environ)
        self._folder = socket_folder()
        self._thread.start()
        self._up.wait()

    def stop(self) -> None:
        self._unwanted.set()
        self._thread.join()

    def _hold(self) -> None:
        try:
            multiprocessing.get_context("forkserver").set_forkserver_preload([PRELOAD])
            # Without a folder for temporary files, say. The first worker tries again, and reports it.
            with safe_path(), suppress(OSError), _temporary_files_in(self._folder):
                forkserver.ensure_running()
        finally:
            self._up.set()
        self._unwanted.wait()
