"""Dask's settings for the scheduler, nannies and workers that imagemill starts.

Dask reads them from one dictionary of the process, and hands variables to its workers through the process's own
environment. Both belong to the program that builds, so they are changed only while something of ours starts, and put
back then. A build's own cluster takes nothing from this machine's settings but time limits: a certificate, a preload
or an idle timeout that is meant for another cluster would break it, or open it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from dask import config

from imagemill.data.storage.scratch import scratch_folder
from imagemill.tasks.runner.processes.process_context import FORKSERVER, SPAWN

_VARIABLES = "distributed.nanny.pre-spawn-environ"
_LOGGING = {"DASK_DISTRIBUTED__LOGGING__DISTRIBUTED": "critical"}
"""Read when a worker imports distributed, which otherwise logs every start, stop and error.

What a job raises is raised where it is awaited.
"""

_QUIET = {
    # The profiler samples each worker's threads every 10 ms, for a dashboard that is off.
    "distributed.worker.profile.enabled": False,
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}

_METHOD = "distributed.worker.multiprocessing-method"
_KEPT = ("timeouts", "retry")
"""Settings below distributed.comm that a build's own cluster takes from this machine."""

_SET_BY_NANNIES = ("PYTHONHASHSEED", "__DASK_PARENT_PID")
"""Variables that a nanny sets in the environment of the build, besides those of its settings, for its worker."""

_lock = threading.Lock()
_inside = 0
_undo: config.set | None = None
_environment: dict[str, str | None] = {}


@contextmanager
def own_settings(forks: bool) -> Iterator[None]:
    """Settings of a build's own cluster, for what is constructed or started meanwhile in any thread.

    ``forks``: worker processes are forked, not spawned.
    """
    global _inside, _undo, _environment
    with _lock:
        if not _inside:
            _undo = config.set(_own())
            names = [*config.get(_VARIABLES), *_SET_BY_NANNIES]
            _environment = {name: os.environ.get(name) for name in names}
        config.set({_METHOD: FORKSERVER if forks else SPAWN})
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                assert _undo is not None, "set on entry"
                _undo.__exit__(None, None, None)
                _put_back(_environment)


@contextmanager
def service_settings(forks: bool) -> Iterator[None]:
    """Settings of `imagemill scheduler` and `imagemill worker`: this machine's, which name certificates, and ours."""
    temporary = config.get("temporary-directory", None) or str(scratch_folder())
    theirs = _defaults()["distributed"]["nanny"]["pre-spawn-environ"]
    variables = {name: value for name, value in config.get(_VARIABLES).items() if theirs.get(name) != value}
    ours = {**_QUIET, _VARIABLES: {**variables, **_LOGGING}, _METHOD: FORKSERVER if forks else SPAWN}
    with config.set({**ours, "temporary-directory": temporary}):
        yield


def _defaults() -> dict[str, Any]:
    """Dask's defaults.

    Its variables for spawned workers are not used: MALLOC_TRIM_THRESHOLD_ returns memory to the system at each free,
    which halves the speed of a small model on a CPU.
    """
    return config.merge(*config.defaults)


def _own() -> dict[str, Any]:
    """Dask's defaults, as one value per top-level key, which config.set can put back."""
    own = _defaults()
    kept = {f"distributed.comm.{name}": deepcopy(config.get(f"distributed.comm.{name}")) for name in _KEPT}
    config.set({**_QUIET, **kept, _VARIABLES: _LOGGING}, config=own)
    # Dask's default is one folder for all users, which it also puts first where Python looks for modules.
    return {"scheduler-address": None, "temporary-directory": str(scratch_folder()), "distributed": own["distributed"]}


def _put_back(environment: dict[str, str | None]) -> None:
    for name, value in environment.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
