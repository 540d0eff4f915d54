"""How often a run that keeps crashing has begun without anything new to show: what ends an endless loop."""

from __future__ import annotations

import json
from typing import Any

from imagemill.data.dataset.folder import Folder
from imagemill.data.staging.store import Staging

MAX_ATTEMPTS = 3
"""Attempts in a row of one run that may bring nothing new."""


def record_attempt(folder: Folder, run: str) -> int:
    """Note that the run begins; returns how many of its attempts just before have kept nothing. Needs the folder held.

    Kept is what is committed, and what is staged for a shard that is under way.
    """
    kept = _kept(folder)
    last = _read(folder)
    fruitless = last["fruitless"] + 1 if last.get("run") == run and last["kept"] == kept else 0
    folder.write(folder.attempts, json.dumps({"run": run, "kept": kept, "fruitless": fruitless}).encode())
    return fruitless


def reset_attempts(folder: Folder) -> None:
    """Begin to count anew: a person who tries again has changed something."""
    folder.attempts.unlink(missing_ok=True)


def _read(folder: Folder) -> dict[str, Any]:
    return json.loads(folder.attempts.read_bytes()) if folder.attempts.exists() else {}


def _kept(folder: Folder) -> list[int]:
    files, _ = folder.committed()
    return [sum(file.rows for file in files), len(Staging(folder.staged).names())]
