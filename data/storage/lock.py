"""Locks of output folders, one build at a time: a file lock on this machine, an expiring object in an object store.

The system releases a file lock when its process dies. In an object store the lock is an object that is only created if
there is none, that names its expiry, and that is renewed while the build runs.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import FileLock, Timeout

from imagemill.data.errors import FolderInUse, OutputError
from imagemill.data.messages import shown, shown_path
from imagemill.data.storage.locations import Location, RemotePath

RENEW_INTERVAL_S = 30
"""Interval at which a remote lock is renewed."""

LOCK_LIFETIME_S = 120
"""Seconds after which a remote lock expires if it is not renewed."""

MAX_LOCK_ATTEMPTS = 3
"""Attempts to take a lock whose holder is dead."""

SETTLE_S = 1
"""Seconds before a lock taken from a dead holder is read back."""

_held: dict[str, _RemoteLock] = {}
"""URL of the lock -> lock held by this process. Every write to the dataset checks it."""


@contextmanager
def lock_local(state: Path, root: str) -> Iterator[None]:
    """Hold ``state/lock``, with the holder's process in ``state/holder.json``. Raises FolderInUse."""
    lock, holder = FileLock(state / "lock"), state / "holder.json"
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise FolderInUse(_in_use(root, _read(holder))) from error
    try:
        temporary = state / "tmp" / f"holder.{os.getpid()}"
        temporary.parent.mkdir(exist_ok=True)
        temporary.write_text(json.dumps(_me()))
        os.replace(temporary, holder)
        yield
    finally:
        holder.unlink(missing_ok=True)
        # Removed while it is held: another process that has opened this file cannot mistake it for the lock.
        (state / "lock").unlink(missing_ok=True)
        lock.release()


@contextmanager
def lock_remote(path: RemotePath, root: str) -> Iterator[None]:
    """Hold the lock object ``path``, which a thread renews. Raises FolderInUse."""
    lock = _RemoteLock(path, root)
    lock.take()
    _held[str(path)] = lock
    try:
        yield
    finally:
        del _held[str(path)]
        lock.release()


def check_still_locked(path: RemotePath) -> None:
    """Raise OutputError if this process has lost the lock to another, so that nothing more is written."""
    lock = _held.get(str(path))
    if lock is not None and lock.is_lost():
        raise OutputError(
            f"this build has lost its lock of {shown(lock.root)}: it could not renew it for {LOCK_LIFETIME_S} "
            "seconds, or "
            "the lock was removed by hand. Nothing more was written. Run the build again: finished images are kept."
        )


class _RemoteLock:
    """A lock object in a store."""

    def __init__(self, path: RemotePath, root: str) -> None:
        self.path = path
        self.root = root
        self.me = {**_me(), "pids": _process_space(), "token": uuid4().hex}
        self.until = 0.0
        """Its expiry in seconds since 1970, not in monotonic time: a suspended machine must count that time too."""
        self.is_taken = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lock", daemon=True)

    def take(self) -> None:
        """Take the lock, also from a dead holder. Raises FolderInUse."""
        holder: dict[str, Any] = {}
        # Again after a dead holder's lock is removed.
        for attempt in range(MAX_LOCK_ATTEMPTS):
            requested_at = time.time()
            with suppress(FileExistsError):
                self.path.create(self._content())
            if attempt:
                # Another process may have found the holder dead too, and remove this lock instead.
                time.sleep(SETTLE_S)
            holder = _read(self.path)
            # Read back: a put that is retried may find itself, and some servers ignore its condition.
            if holder.get("token") == self.me["token"]:
                self.until = requested_at + LOCK_LIFETIME_S
                self._thread.start()
                return
            if not _is_dead(holder):
                break
            if holder and _read(self.path) == holder:
                self.path.unlink(missing_ok=True)
        raise FolderInUse(_in_use(self.root, holder))

    def is_lost(self) -> bool:
        """True if another process may hold it by now."""
        return self.is_taken or time.time() > self.until

    def release(self) -> None:
        """Remove the lock if it is still this one's."""
        self._stop.set()
        self._thread.join()
        with suppress(OutputError):
            if _read(self.path).get("token") == self.me["token"]:
                self.path.unlink(missing_ok=True)

    def _renew(self) -> None:
        while not self._stop.wait(RENEW_INTERVAL_S):
            requested_at = time.time()
            # If the store is briefly unreachable, the next interval tries again; is_lost counts the time.
            with suppress(OutputError):
                if self.is_lost() or _read(self.path).get("token") != self.me["token"]:
                    self.is_taken = True
                    return
                self.path.write_bytes(self._content())
                self.until = requested_at + LOCK_LIFETIME_S

    def _content(self) -> bytes:
        return json.dumps({**self.me, "expires": time.time() + LOCK_LIFETIME_S}).encode()


def _read(path: Location) -> dict[str, Any]:
    """The holder of a lock; empty if there is none. One that is damaged has expired."""
    try:
        holder = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError):
        return {"expires": 0}
    if not isinstance(holder, dict) or type(holder.get("pid")) is not int:
        return {"expires": 0}
    return holder if isinstance(holder.get("expires", 0), int | float) else {**holder, "expires": 0}


def _is_dead(holder: dict[str, Any]) -> bool:
    if holder.get("expires", 0) < time.time():
        return True
    # Two containers may share a host name, and each have a process 7.
    here = (socket.gethostname(), _process_space())
    return (holder.get("host"), holder.get("pids")) == here and not _is_alive(holder["pid"])


def _process_space() -> str:
    """This process's PID namespace; empty if the system has none."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # Another user's.
    return True


def _me() -> dict[str, Any]:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": since}


def _in_use(root: str, holder: dict[str, Any]) -> str:
    text = (
        f"another build holds the output folder {shown_path(root)}: process {holder.get('pid', '?')} on "
        f"{holder.get('host', '?')}, since {holder.get('since', '?')}. Wait for it, or stop it and run this again."
    )
    if "expires" in holder:
        text += f" If it died on another machine, its lock expires {LOCK_LIFETIME_S} seconds later."
    return text
