"""Check of Prefect's folder before a temporary server needs it: without one that can be written, its database fails.

Prefect would start such a server again and again, with a traceback each time.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from prefect.settings import PREFECT_HOME

from imagemill.data.errors import ImagemillError
from imagemill.data.messages import shown_path

INSTEAD = "Set PREFECT_HOME to a folder that you can write to, or PREFECT_API_URL to a running Prefect server."


def check_home() -> None:
    """Raise ImagemillError if Prefect's folder, or the database in it, cannot be written."""
    home = PREFECT_HOME.value()
    try:
        home.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=home).close()
    except OSError as error:
        raise ImagemillError(
            f"Prefect's folder {shown_path(home)} cannot be written ({error.strerror or error}). {INSTEAD}"
        ) from error
    for database in home.glob("prefect.db*"):
        if not _is_writable(database):
            raise ImagemillError(f"Prefect's database {shown_path(database)} cannot be written. {INSTEAD}")


def _is_writable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.R_OK | os.W_OK)
