"""Dask preload of a worker process: ties its life to its parent's, and starts the imports that models need.

Imports neither Prefect nor torch.
"""

from __future__ import annotations

import atexit
import ctypes
import importlib
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import Any

from imagemill.data.staging.in_flight import clear_marks
from imagemill.tasks.runner.processes.fast_imports import fast_imports
from imagemill.tasks.runner.processes.fork_server import UNSET
from imagemill.tasks.runner.worker_output import silence_process

PR_SET_PDEATHSIG = 1
"""Option of Linux's prctl(2): the signal that this process gets when its parent ends."""


def dask_setup(worker: Any) -> None:
    """Set up this process: its variables, its end with its parent, SIGTERM, output; imports start in a thread."""
    for name in filter(None, os.environ.pop(UNSET, "").split("=")):
        os.environ.pop(name, None)
    silence_process()
    die_with_parent()
    leave_sigterm()
    imports.start()


def die_with_parent() -> None:
    """End this process when its parent has ended for any reason."""
    # Dask watches the parent in a thread, which a call into a driver can block; the kernel cannot be blocked.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def leave_sigterm() -> None:
    """Ignore the SIGTERM that Prefect's worker and systemd send to all processes of a build.

    The build ends its workers itself: one that ended before would be restarted, and waited for.
    """
    # Not SIG_IGN, which child processes such as compilers would inherit.
    signal.signal(signal.SIGTERM, lambda sign, frame: None)


def import_models() -> None:
    """Import what every model needs, which takes seconds the first time."""
    importlib.import_module("imagemill.models.drawing.draw")
    if not os.environ.get("IMAGEMILL_PIPELINE"):
        # Most of its imports are shared by all families.
        importlib.import_module("imagemill.models.loading.pipeline").diffusers_class("FluxPipeline")


def _import_early() -> None:
    # What cannot be imported is imported again by the first job, which reports it.
    with fast_imports(), suppress(ImportError, OSError, RuntimeError, ValueError):
        import_models()


imports = threading.Thread(target=_import_early, daemon=True, name="import")
"""The imports, while the build is planned.

Join it before a job: a second thread that imports transformers gets a half-initialized module.
"""


def dask_teardown(worker: Any) -> None:
    """Prepare the end of this process: its cluster is being closed, or it has lost its scheduler."""
    clear_marks()
    # Skips Python's teardown of torch and the other modules, which takes seconds.
    atexit.register(os._exit, 0)
