"""Import paths of the processes that a build starts: nothing in the user's working directory is ever imported there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def safe_path() -> Iterator[None]:
    """Python processes that start meanwhile look for no modules in their working directory."""
    # In the environment: Python's fork server and resource tracker take no options of ours. Not for longer: what a
    # user's program starts is its own.
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("PYTHONSAFEPATH", None)
        else:
            os.environ["PYTHONSAFEPATH"] = before


def importable_path(path: list[str], working_directory: str | None) -> list[str]:
    """``sys.path`` without the working directory, unless PYTHONPATH names it."""
    named = {str(Path(entry).absolute()) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry}
    unnamed = {"", working_directory} - named
    return [entry for entry in path if entry not in unnamed]
