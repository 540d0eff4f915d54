"""Conversion of disk errors: a disk that is full, or must not be written to, becomes one clear OutputError."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagemill.data.errors import OutputError
from imagemill.data.messages import shown_path

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)


@contextmanager
def explain_full_disk(folder: Path) -> Iterator[None]:
    """Turn errors of a disk below ``folder`` that is full, or must not be written to, into one clear OutputError."""
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        advice = _advice(error, folder)
        if advice is None:
            raise
        raise OutputError(
            f"cannot write below {shown_path(folder)}: {getattr(error, 'strerror', None) or error}. {advice} "
            "recipe.output (for a URL IMAGEMILL_WORK) another disk: finished images are kept."
        ) from error


def check_writable(folder: Path) -> None:
    """Raise OutputError if ``folder``, or where it is missing the folder it would be made in, cannot be written to."""
    existing = folder.absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if existing.is_dir() and not os.access(existing, os.W_OK | os.X_OK):
        read_only = os.statvfs(existing).f_flag & os.ST_RDONLY
        reason = os.strerror(errno.EROFS if read_only else errno.EACCES)
        raise OutputError(
            f"cannot write below {shown_path(existing)}: {reason}. Give recipe.output (for a URL IMAGEMILL_WORK) a "
            "folder that you can write to: finished images are kept."
        )


def _advice(error: OSError | sqlite3.OperationalError, folder: Path) -> str | None:
    """What to do about it, up to what to give; None for an error that is not the disk's."""
    number = getattr(error, "errno", None)
    if number in _FULL or "disk is full" in str(error):
        return "Free disk space and run the build again, or give"
    # Prompts or a model that cannot be read are no fault of the output.
    is_below = str(getattr(error, "filename", None) or "").startswith(str(folder))
    if number == errno.EROFS or (number in _FORBIDDEN and is_below) or "readonly database" in str(error):
        return "Let this user write there, or give"
    return None
