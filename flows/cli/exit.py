"""Immediate exit of the `imagemill` command, without the second that Python's own teardown of modules takes."""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress
from typing import NoReturn

from imagemill.data.storage.scratch import remove_scratch
from imagemill.tasks.runner.processes.helper_processes import end_helper_processes

_code = 1
"""Exit code of the process; that of an unexpected error until another is set."""


def end_at_once() -> None:
    """Skip Python's teardown in this process: it ends once the registered exit functions have run."""
    atexit.register(_end)


def exit_with(code: int) -> NoReturn:
    """Exit with this code."""
    global _code
    _code = code
    sys.exit(code)


def _end() -> None:
    # It is registered for the exit too, but maybe before this function, and then comes after it.
    remove_scratch()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    end_helper_processes()
    os._exit(_code)
