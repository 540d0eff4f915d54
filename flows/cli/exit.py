"""How the `imagemill` command ends: at once. Python would first take apart all that was imported: a second."""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress
from typing import NoReturn

_code = 1
"""What the process ends with: that of an error that nobody expected, until another is known."""


def end_at_once() -> None:
    """Let this process end as soon as all has run that is registered to run at its end, from now on."""
    atexit.register(_end)


def exit_with(code: int) -> NoReturn:
    """Leave with this exit code."""
    global _code
    _code = code
    sys.exit(code)


def _end() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(_code)
