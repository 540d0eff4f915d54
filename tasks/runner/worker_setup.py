"""What a worker process does before its first job; Dask calls it (``preload``) in every process it starts.

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

PR_SET_PDEATHSIG = 1
"""Linux, prctl(2): the signal that this process gets when the one that started it is gone."""


def dask_setup(worker: Any) -> None:
    """Tie this process's life to its parent's, and to nothing else, and begin its imports."""
    die_with_parent()
    leave_sigterm()
    imports.start()


def die_with_parent() -> None:
    """End this process when the one that started it has ended, however that happened."""
    # Dask watches its parent in a thread, which a call into a driver can keep from running; the kernel always can.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def leave_sigterm() -> None:
    """Do nothing when all processes of a build are told to end, as Prefect's worker tells them, and systemd.

    A build ends its workers itself: one that was gone before would be started again, and waited for until it is up.
    """
    # Not SIG_IGN: the programs that this one starts, such as compilers, would inherit that.
    signal.signal(signal.SIGTERM, lambda sign, frame: None)


def import_models() -> None:
    """Import what every model needs, which takes seconds; at once where that is done."""
    importlib.import_module("imagemill.models.drawing.draw")
    if not os.environ.get("IMAGEMILL_PIPELINE"):
        # Most of what it imports is every family's.
        importlib.import_module("imagemill.models.loading.pipeline").diffusers_class("FluxPipeline")


def _import_early() -> None:
    # What cannot be imported is imported again by the first job, which reports it.
    with suppress(ImportError, OSError, RuntimeError, ValueError):
        import_models()


imports = threading.Thread(target=_import_early, daemon=True, name="import")
"""The imports, while the build is planned.

To be waited for before a job: transformers gives half a module to a second thread that imports it.
"""


def dask_teardown(worker: Any) -> None:
    """This process was told to end: its cluster is being closed, or it has lost its scheduler."""
    clear_marks()
    # Python's own end would take apart torch and all that was imported, which takes seconds.
    atexit.register(os._exit, 0)
