"""Private temporary folder of a process. A folder whose owner was killed is removed by the next process that needs one.

Anyone may create files in the system's temporary folder, so nothing there has a name that others could guess, and only
folders of this user are removed that hold the lock file of an owner which no longer holds the lock.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import re
import shutil
import stat
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from imagemill.data.errors import ImagemillError
from imagemill.data.messages import shown_path

PREFIX = "imagemill-run-"
OWNER = "imagemill-owner.lock"

MAX_SOCKET_BYTES = 100
"""Length of a Unix socket's path: 107 bytes on Linux, 103 on macOS."""

_SOCKET_NAME = "listener-01234567"
_SHORT_BASES = ("/tmp", "/var/tmp")

_making = threading.Lock()
_folders: dict[bool, _Folder] = {}
"""By whether it is one for sockets."""


@dataclass(frozen=True, slots=True)
class _Folder:
    path: Path
    lock: int
    """Descriptor of the lock file. The kernel drops the lock when the last process that holds it has ended."""
    process: int


def scratch_folder() -> Path:
    """This process's folder below TMPDIR, which is removed when it exits. Raises ImagemillError if there is none."""
    try:
        base = Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise ImagemillError(
            f"no folder for temporary files can be written (TMPDIR is {_shown(os.environ.get('TMPDIR'))}): free disk "
            "space, or set TMPDIR to a folder that can be written."
        ) from error
    return _folder(base, for_sockets=False)


def socket_folder() -> Path:
    """A folder whose path leaves room for a socket's name: the process's folder, or a second one if TMPDIR is long."""
    folder = scratch_folder()
    if len(os.fsencode(folder / _SOCKET_NAME)) <= MAX_SOCKET_BYTES:
        return folder
    for base in _SHORT_BASES:
        if os.access(base, os.W_OK | os.X_OK):
            return _folder(Path(base), for_sockets=True)
    raise ImagemillError(
        f"TMPDIR is {_shown(str(folder.parent))}, which is too long for a socket, and {' and '.join(_SHORT_BASES)} "
        "cannot be written: set TMPDIR to a folder with a shorter path."
    )


def remove_scratch() -> None:
    """Remove this process's folders; it makes new ones if it needs them again."""
    with _making:
        for folder in _folders.values():
            if folder.process == os.getpid():
                shutil.rmtree(folder.path, ignore_errors=True)
                os.close(folder.lock)
        _folders.clear()


def _folder(base: Path, for_sockets: bool) -> Path:
    with _making:
        known = _folders.get(for_sockets)
        # A forked process makes its own: the other one is removed with its owner.
        if known is None or known.process != os.getpid() or not known.path.exists():
            try:
                for place in {base, *map(Path, _SHORT_BASES)}:
                    _remove_abandoned(place)
                known = _folders[for_sockets] = _make(base)
            except OSError as error:
                raise ImagemillError(
                    f"no temporary folder can be made in {_shown(str(base))} ({error.strerror}): free disk space, or "
                    "set TMPDIR to a folder that can be written."
                ) from error
        return known.path


def _make(base: Path) -> _Folder:
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        # Another process may take the folder for abandoned, and remove it, before it is locked.
        with suppress(FileNotFoundError):
            lock = os.open(path / OWNER, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if _is_lock_of(lock, path):
                return _Folder(path, lock, os.getpid())
            os.close(lock)


def _remove_abandoned(base: Path) -> None:
    found: list[str] = []
    # Where it matters, making a folder there will fail too.
    with suppress(OSError), os.scandir(base) as entries:
        found = [entry.path for entry in entries if re.fullmatch(PREFIX + "[a-z0-9_]{8}", entry.name)]
    for path in found:
        # Another process may remove it at the same time.
        with suppress(OSError):
            about = os.lstat(path)
            if stat.S_ISDIR(about.st_mode) and about.st_uid == os.geteuid():
                _remove_if_abandoned(Path(path))


def _remove_if_abandoned(path: Path) -> None:
    try:
        lock = os.open(path / OWNER, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        # Its owner was killed before it made the lock file, or is about to: then it makes another folder.
        path.rmdir()
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_lock_of(lock, path):
            # Follows no links, and removes the lock file with the rest.
            shutil.rmtree(path)
    finally:
        os.close(lock)


def _is_lock_of(lock: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(lock), os.lstat(path / OWNER))
    except FileNotFoundError:
        return False


def _shown(text: str | None) -> str:
    return "not set" if text is None else shown_path(text)


atexit.register(remove_scratch)
