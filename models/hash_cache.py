"""Cache of the hashes of large local files, across processes: 31 GB of weights are read once, not by every plan.

A file counts as the same while its path, size, inode and both times are. The entries are in one JSON file in the user's
cache folder: without it, or with a damaged one, everything is read again.
"""

from __future__ import annotations

import json
import os
import re
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from imagemill.data.errors import BuildFailed
from imagemill.data.storage.locations import hash_file
from imagemill.models.cache_dir import cache_folder

MIN_BYTES = 2**20
"""A smaller file is read as quickly as its entry."""

MAX_ENTRIES = 4096
"""The most files that are remembered; the first remembered are forgotten first."""

SETTLED_NS = 2 * 10**9
"""A file that changed less than this before it was read could change again within the clock's resolution, which is two
seconds on some file systems: it is not remembered yet."""

_SHA256 = re.compile(r"[0-9a-f]{64}")

_State = list[int]
"""Size, time of the last change of the content and of the inode, and number of the inode."""


def cached_hash(path: Path) -> str:
    """sha256 of a file's bytes, in hexadecimal, as hash_file; a large file that has not changed is not read again."""
    real = path.resolve()
    before = _state(real)
    if before[0] < MIN_BYTES:
        return hash_file(real)
    known, sha256 = _read().get(str(real), (None, ""))
    if known == before:
        return sha256
    started = time.time_ns()
    sha256 = hash_file(real)
    if _state(real) == before and max(before[1:3]) < started - SETTLED_NS:
        _remember(str(real), before, sha256)
    return sha256


def _state(path: Path) -> _State:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _file() -> Path:
    return cache_folder("hashes") / "files.json"


def _read() -> dict[str, tuple[_State, str]]:
    """Path -> state and hash. Empty for a file that is damaged, or that another user could have written."""
    try:
        with open(_file(), "rb") as file:
            owner = os.fstat(file.fileno())
            if owner.st_uid != os.getuid() or owner.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return {}
            content = json.load(file)
        found = {path: (state, sha256) for path, (state, sha256) in content.items()}
    except (OSError, BuildFailed, ValueError, RecursionError, TypeError, AttributeError):
        return {}
    return found if all(map(_is_valid, found.values())) else {}


def _is_valid(entry: tuple[object, object]) -> bool:
    state, sha256 = entry
    is_state = isinstance(state, list) and len(state) == 4 and all(type(number) is int for number in state)
    return is_state and isinstance(sha256, str) and _SHA256.fullmatch(sha256) is not None


def _remember(path: str, state: _State, sha256: str) -> None:
    """Add an entry. A cache that cannot be written is no error: the file is read again next time."""
    entries = _read()
    entries.pop(path, None)
    entries[path] = state, sha256
    kept = dict(list(entries.items())[-MAX_ENTRIES:])
    with suppress(OSError, BuildFailed):
        target = _file()
        # Only its owner may read or write it. Another process sees the old file or the new one.
        handle, temporary = tempfile.mkstemp(prefix=".files-", dir=target.parent)
        try:
            with open(handle, "w", encoding="utf-8") as file:
                json.dump(kept, file)
            os.replace(temporary, target)
        except BaseException:
            Path(temporary).unlink()
            raise
