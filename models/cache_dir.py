"""Cache folder of this machine, for what outlives a build: compiled code, batch sizes."""

from __future__ import annotations

import os
from pathlib import Path

from imagemill.data.errors import BuildFailed
from imagemill.data.storage.home import home_folder


def cache_folder(name: str) -> Path:
    """The folder of this name in imagemill's cache (XDG_CACHE_HOME, by default ~/.cache), created on first need.

    Raises BuildFailed where it cannot be created.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME") or home_folder() / ".cache") / "imagemill" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BuildFailed(
            f"{folder} cannot be created: {error.strerror}. Set XDG_CACHE_HOME to a folder that you can write to."
        ) from error
    return folder
