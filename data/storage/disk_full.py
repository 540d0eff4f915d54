"""Conversion of disk errors: a full or read-only disk becomes one clear OutputError."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagemill.data.errors import OutputError
from imagemill.data.messages import shown_path

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@contextmanager
def explain_full_disk(folder: Path) -> Iterator[None]:
    """Turn a full or read-only disk below ``folder`` into one clear OutputError."""
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        if not (getattr(error, "errno", None) in _FULL or "disk is full" in str(error)):
            raise
        raise OutputError(
            f"cannot write below {shown_path(folder)}: {getattr(error, 'strerror', None) or error}. Free disk space "
            "and run "
            "the build again, or give recipe.output (for a URL IMAGEMILL_WORK) another disk: finished images are kept."
        ) from error
