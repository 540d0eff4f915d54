"""Home folder of the user, below which caches and Prefect's database lie unless the environment says otherwise."""

from __future__ import annotations

import os
from pathlib import Path

from imagemill.data.errors import OutputError


def home_folder() -> Path:
    """The home folder; it may not exist. Raises OutputError for a user without one, as containers have them."""
    try:
        return Path.home()
    except RuntimeError as error:
        raise OutputError(
            f"the user {os.getuid()} has no home folder: set HOME to a folder that this user can write to."
        ) from error
