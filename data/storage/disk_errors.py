"""Conversion of disk errors: full, read-only, failing or forbidden places become one clear OutputError."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagemill.data.errors import OutputError
from imagemill.data.messages import shown_path

_ELSEWHERE = "give recipe.output (for a URL IMAGEMILL_WORK) another disk"

_FULL = f"Free disk space and run the build again, or {_ELSEWHERE}"
_READ_ONLY = f"Mount it for writing and run the build again, or {_ELSEWHERE}"
_FORBIDDEN = f"Get the right to write there and run the build again, or {_ELSEWHERE}"
_FAILING = (
    "The disk, or the connection to it, fails: check it (the system's log names the device) and run the build again, "
    f"or {_ELSEWHERE}"
)
_UNUSABLE = f"Check that its disk works, has space and may be written, and run the build again, or {_ELSEWHERE}"
_IN_THE_WAY = "Something else lies in the place of a file or a folder: move it away and run the build again"
_TOO_MANY = "Raise the limit of open files (ulimit -n) and run the build again"
_DAMAGED = "A work file of this build was damaged while it ran: run the build again, which makes a new one"

_ADVICE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _FULL),
    errno.EROFS: _READ_ONLY,
    **dict.fromkeys((errno.EACCES, errno.EPERM), _FORBIDDEN),
    **dict.fromkeys((errno.EIO, errno.ENXIO, errno.ENODEV, errno.ESTALE), _FAILING),
    **dict.fromkeys((errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.ELOOP), _IN_THE_WAY),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), _TOO_MANY),
}
"""Errno -> what to do."""

_SQLITE = {
    "SQLITE_FULL": _FULL,
    "SQLITE_IOERR": _FAILING,
    # It does not say why: a failing disk, a read-only one, or one without the permission.
    **dict.fromkeys(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM"), _UNUSABLE),
    "SQLITE_CORRUPT": _DAMAGED,
    "SQLITE_NOTADB": _DAMAGED,
    "SQLITE_ERROR": _DAMAGED,
}
"""Beginning of the name of SQLite's error -> what to do."""


@contextmanager
def explain_disk_errors(folder: Path) -> Iterator[None]:
    """Turn a disk's error below ``folder`` into one clear OutputError; other errors pass."""
    try:
        yield
    except (OSError, sqlite3.DatabaseError) as error:
        if explained := disk_error(error, folder):
            raise explained from error
        raise


def disk_error(error: OSError | sqlite3.DatabaseError, folder: Path) -> OutputError | None:
    """The OutputError for a disk's error; None for any other error."""
    if isinstance(error, OSError):
        advice, what = _ADVICE.get(error.errno or 0), error.strerror
    else:
        name = getattr(error, "sqlite_errorname", "")
        advice, what = next((text for start, text in _SQLITE.items() if name.startswith(start)), None), str(error)
    if advice is None:
        return None
    where, place = f"below {shown_path(folder)}", getattr(error, "filename", None)
    if isinstance(place, str) and not Path(place).is_relative_to(folder):
        if advice == _FORBIDDEN:
            # Prompts or a model that may not be read.
            return None
        where, advice = shown_path(place), advice.removesuffix(f", or {_ELSEWHERE}")
    verb = "write" if advice.startswith((_FULL[:10], _READ_ONLY[:10])) else "use"
    return OutputError(f"cannot {verb} {where}: {what or error}. {advice}: finished images are kept.")


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
