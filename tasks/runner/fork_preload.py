"""What the process imports that workers are forked from; see fork_server.py. To import it is all that it is for."""

from __future__ import annotations

import gc
import os
import signal
from contextlib import suppress

from imagemill.tasks.runner.worker_setup import die_with_parent, import_models, leave_sigterm

die_with_parent()
# Ctrl-C goes to every process of a terminal, SIGTERM to a whole group; the build ends its workers, and this, itself.
leave_sigterm()
signal.signal(signal.SIGINT, signal.SIG_IGN)
# Both are read when the library is loaded: see quiet_workers and worker_options of tasks/runner/cluster.py.
os.environ.setdefault("DASK_DISTRIBUTED__LOGGING__DISTRIBUTED", "critical")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Nothing of what is imported is ever garbage: looking for some took a sixth of the time.
gc.disable()
import distributed  # noqa: E402, F401

# What cannot be imported is imported again by the worker that needs it, and told there.
with suppress(ImportError, OSError, RuntimeError, ValueError):
    import_models()
gc.freeze()
gc.enable()
