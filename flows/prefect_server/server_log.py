"""Log of temporary Prefect servers: a file in PREFECT_HOME, so that their messages never reach the terminal."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from imagemill.data.errors import ImagemillError
from imagemill.data.messages import shown_path

LOG = "temporary-server.log"
"""Its name. Builds that run at the same time share it."""

MAX_LOG_BYTES = 1_000_000
"""The next server truncates a log that is larger."""


def open_log(home: Path) -> BinaryIO:
    """Open the log to be appended to. Only its owner can read it. Raises ImagemillError."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        log = os.fdopen(os.open(home / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")
        if os.fstat(log.fileno()).st_size > MAX_LOG_BYTES:
            log.truncate(0)
        return log
    except OSError as error:
        raise ImagemillError(
            f"{shown_path(home)} cannot be written to ({error.strerror}): set PREFECT_HOME to a folder that Prefect "
            "can store runs in."
        ) from error


def last_line(home: Path) -> str:
    """The last line of the log that is not empty; "" without one."""
    with (home / LOG).open("rb") as log:
        log.seek(max(0, os.fstat(log.fileno()).st_size - 4096))
        lines = log.read().decode(errors="replace").split("\n")
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")
