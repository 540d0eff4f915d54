"""One build at a time: the lock of a folder on this machine, and that of one in an object store.

On this machine the system lets go of a lock when its holder dies, however it dies. An object store has nothing like
it: there the lock is an object that is put only where there is none, says until when it holds, and is renewed while
the build runs.
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
from imagemill.data.storage.locations import RemotePath

RENEW_SECONDS = 30
"""How often a remote lock is renewed."""

LOCK_LIFETIME_S = 120
"""How long a remote lock holds that nobody renews."""

MAX_LOCK_ATTEMPTS = 3
"""Attempts to take a lock whose holder is dead."""

SETTLE_S = 1
"""How long a lock that was taken from a dead holder is watched before it is relied on."""

_held: dict[str, _RemoteLock] = {}
"""Remote datasets that this process holds: URL of the lock -> the lock. Every write asks it whether it still holds."""


@contextmanager
def lock_local(state: Path, root: str) -> Iterator[None]:
    """Hold ``state/lock`` and say in ``state/holder.json`` who does. Raises FolderInUse."""
    lock, holder = FileLock(state / "lock"), state / "holder.json"
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise FolderInUse(_held_by(root, json.loads(holder.read_bytes()) if holder.exists() else {})) from error
    try:
        temporary = state / "tmp" / f"holder.{os.getpid()}"
        temporary.parent.mkdir(exist_ok=True)
        temporary.write_text(json.dumps(_me()))
        os.replace(temporary, holder)
        yield
    finally:
        holder.unlink(missing_ok=True)
        # Removed while it is held: whoever opened this file before can then not take it for the lock.
        (state / "lock").unlink(missing_ok=True)
        lock.release()


@contextmanager
def lock_remote(path: RemotePath, root: str) -> Iterator[None]:
    """Hold the lock object ``path``, renewed by a thread. Raises FolderInUse."""
    lock = _RemoteLock(path, root)
    lock.take()
    _held[str(path)] = lock
    try:
        yield
    finally:
        del _held[str(path)]
        lock.release()


def check_still_locked(path: RemotePath) -> None:
    """Raises OutputError where this process held the lock and another has taken it: nothing more may be written."""
    lock = _held.get(str(path))
    if lock is not None and lock.is_lost():
        raise OutputError(
            f"this build has lost its hold of {lock.root!r}: it could not renew the lock for {LOCK_LIFETIME_S} seconds, "
            "or somebody removed it. Nothing more was written. Run the build again: what is finished is kept."
        )


class _RemoteLock:
    """A lock object in a store."""

    def __init__(self, path: RemotePath, root: str) -> None:
        self.path = path
        self.root = root
        self.me = {**_me(), "pids": _process_space(), "token": uuid4().hex}
        self.until = 0.0
        """Until when it holds, in seconds since 1970, as others read it: a machine that slept counts its sleep."""
        self.taken_away = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lock", daemon=True)

    def take(self) -> None:
        """Take it, also from a holder that is dead. Raises FolderInUse."""
        holder: dict[str, Any] = {}
        # Again, once a dead holder's lock is gone.
        for attempt in range(MAX_LOCK_ATTEMPTS):
            asked = time.time()
            with suppress(FileExistsError):
                self.path.create(self._content())
            if attempt:
                # Another may have found it dead too, and remove this one's for it.
                time.sleep(SETTLE_S)
            holder = _read(self.path)
            # Read back, as a put may be tried again and then find itself, and some servers ignore its condition.
            if holder.get("token") == self.me["token"]:
                self.until = asked + LOCK_LIFETIME_S
                self._thread.start()
                return
            if not _is_dead(holder):
                break
            if holder and _read(self.path) == holder:
                self.path.unlink(missing_ok=True)
        raise FolderInUse(_held_by(self.root, holder))

    def is_lost(self) -> bool:
        """Whether somebody else may hold it by now."""
        return self.taken_away or time.time() > self.until

    def release(self) -> None:
        """Let it go, if it is still this one's."""
        self._stop.set()
        self._thread.join()
        with suppress(OutputError):
            if _read(self.path).get("token") == self.me["token"]:
                self.path.unlink(missing_ok=True)

    def _keep(self) -> None:
        while not self._stop.wait(RENEW_SECONDS):
            asked = time.time()
            # A store that cannot be reached for a moment is asked again; is_lost counts the time.
            with suppress(OutputError):
                if self.is_lost() or _read(self.path).get("token") != self.me["token"]:
                    self.taken_away = True
                    return
                self.path.write_bytes(self._content())
                self.until = asked + LOCK_LIFETIME_S

    def _content(self) -> bytes:
        return json.dumps({**self.me, "expires": time.time() + LOCK_LIFETIME_S}).encode()


def _read(path: RemotePath) -> dict[str, Any]:
    """Who holds a lock; empty where nobody does."""
    try:
        who = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError:
        return {"expires": 0}
    return who if isinstance(who, dict) else {"expires": 0}


def _is_dead(holder: dict[str, Any]) -> bool:
    if holder.get("expires", 0) < time.time():
        return True
    # Two containers may have one name, and each its own process 7.
    here = (socket.gethostname(), _process_space())
    return (holder.get("host"), holder.get("pids")) == here and not _is_alive(holder["pid"])


def _process_space() -> str:
    """Which numbering of processes this one is in; empty where the system does not say."""
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


def _held_by(root: str, who: dict[str, Any]) -> str:
    text = (
        f"another build holds the output folder {root!r}: process {who.get('pid', '?')} on "
        f"{who.get('host', '?')}, since {who.get('since', '?')}. Wait for it, or stop it and run this again."
    )
    if "expires" in who:
        text += f" If it died on another machine, its hold ends {LOCK_LIFETIME_S} seconds after it did."
    return text
