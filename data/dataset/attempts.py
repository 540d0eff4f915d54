"""Records of a killed run for the next: the count of attempts without progress, and its figures.

The count ends an endless loop of recoveries; the figures become a line of runs.jsonl.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import monotonic
from typing import Any

import orjson

from imagemill.data.dataset.files.own_files import read_attempts, read_under_way
from imagemill.data.dataset.folder import Folder
from imagemill.data.staging.store import Staging

MAX_ATTEMPTS = 3
"""Consecutive attempts of one run that may make no progress."""

WRITE_INTERVAL_S = 0.2
"""Least time between two writes of the figures. A batch of images takes longer on most machines."""

KILLED = "its process ended without a word: killed (as when memory is short), or the machine went down"


def record_attempt(folder: Folder, run: str) -> int:
    """Record that the run begins; returns how many of its last attempts made no progress. The folder must be locked.

    Progress is a committed row, an image that is staged for a shard in flight, or a language model's answer.
    """
    progress = _progress(folder)
    last = read_attempts(folder.attempts)
    fruitless = last["fruitless"] + 1 if last.get("run") == run and last["kept"] == progress else 0
    folder.write(folder.attempts, json.dumps({"run": run, "kept": progress, "fruitless": fruitless}).encode())
    return fruitless


def reset_attempts(folder: Folder) -> None:
    """Start counting from zero: starting the build again means that something has changed."""
    folder.attempts.unlink(missing_ok=True)


def _progress(folder: Folder) -> list[int]:
    files, _ = folder.committed()
    answers = sum(path.stat().st_size for path in folder.answer_journal.glob("*.jsonl"))
    return [sum(file.rows for file in files), len(Staging(folder.staged).names()), *([answers] if answers else [])]


class UnderWay:
    """The figures of one run, kept in a file while it builds. The folder must be locked."""

    def __init__(self, folder: Folder, figures: Callable[[], Mapping[str, Any]]) -> None:
        self._folder, self._path, self._figures = folder, folder.under_way, figures
        self._written = 0.0

    def begin(self) -> None:
        """Write the first figures."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._write()

    def update(self) -> None:
        """Write the figures, if the last were written a while ago. A power cut may lose them."""
        if monotonic() - self._written >= WRITE_INTERVAL_S:
            # Where the disk is full or fails, the images' own writes say so.
            with suppress(OSError):
                self._write()

    def end(self) -> None:
        """Forget them: the run has its line."""
        self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        temporary = self._folder.scratch(f"{self._path.name}.{os.getpid()}")
        temporary.write_bytes(orjson.dumps(dict(self._figures())))
        os.replace(temporary, self._path)
        self._written = monotonic()


def add_killed_run(folder: Folder) -> None:
    """Add the line of a run whose process was killed to runs.jsonl, if there is one. The folder must be locked."""
    if figures := read_under_way(folder.under_way):
        folder.add_run({**figures, "status": "killed", "error": KILLED})
    folder.under_way.unlink(missing_ok=True)
