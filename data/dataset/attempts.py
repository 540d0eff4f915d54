"""Count of a run's crashes without progress between them: what ends an endless loop of recoveries."""

from __future__ import annotations

import json

from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.own_files import read_attempts
from imagemill.data.staging.store import Staging

MAX_ATTEMPTS = 3
"""Consecutive attempts of one run that may make no progress."""


def record_attempt(folder: Folder, run: str) -> int:
    """Record that the run begins; returns how many of its last attempts made no progress. The folder must be locked.

    Progress is a committed row, or an image that is staged for a shard in flight.
    """
    progress = _progress(folder)
    last = read_attempts(folder.attempts)
    fruitless = last["fruitless"] + 1 if last.get("run") == run and last["kept"] == progress else 0
    folder.write(folder.attempts, json.dumps({"run": run, "kept": progress, "fruitless": fruitless}).encode())
    return fruitless


def reset_attempts(folder: Folder) -> None:
    """Start counting from zero: a user who starts the build again has changed something."""
    folder.attempts.unlink(missing_ok=True)


def _progress(folder: Folder) -> list[int]:
    files, _ = folder.committed()
    return [sum(file.rows for file in files), len(Staging(folder.staged).names())]
