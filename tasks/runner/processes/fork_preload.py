"""Imports of the fork server (fork_server.py), made by importing this module."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from imagemill.tasks.runner.processes.fast_imports import fast_imports
from imagemill.tasks.runner.processes.torch_threads import wait_policy
from imagemill.tasks.runner.worker_output import silence_process
from imagemill.tasks.runner.worker_setup import die_with_parent, import_models, leave_sigterm

die_with_parent()
# Ctrl-C goes to every process of a terminal, SIGTERM to a whole group; the build ends its workers, and this, itself.
leave_sigterm()
signal.signal(signal.SIGINT, signal.SIG_IGN)
# Inherited by the workers.
silence_process()
# Both are read when the library is loaded: see dask_settings.py and torch_threads.py.
os.environ.setdefault("DASK_DISTRIBUTED__LOGGING__DISTRIBUTED", "critical")
os.environ.update(wait_policy())

with fast_imports():
    import distributed  # noqa: F401

    # A worker repeats a failed import, and reports it.
    with suppress(ImportError, OSError, RuntimeError, ValueError):
        import_models()
