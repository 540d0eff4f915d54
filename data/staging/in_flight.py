"""Notes of what the worker processes are at. A note that is still there when its process has ended tells what ended it.

A process that is killed, or whose device fails, can tell nobody; the one that takes over its job reads the notes.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import orjson

from imagemill.data.identity import digest
from imagemill.data.staging.bundles import gone

KILLED = "killed, or out of host memory"
"""What is said of a process that has left no reason."""


@dataclass(frozen=True, slots=True)
class WorkerCrash:
    """A worker process that ended in the middle of a job."""

    keys: tuple[str, ...]
    """Image keys of the images that it was generating; none where it was loading the model."""
    reason: str


class InFlight:
    """The notes about one job of one run, beside the staged images."""

    def __init__(self, staging: Path, run: str, keys: Sequence[str]) -> None:
        # Of one run: a build that was killed has taken its workers with it, and no image is to blame for that.
        self._folder = staging / "under-way" / run / digest(sorted(keys))
        self._mark: Path | None = None
        self._keys: tuple[str, ...] = ()
        self._is_abandoned = False

    @contextmanager
    def mark(self, keys: Sequence[str] = ()) -> Iterator[None]:
        """Note that these images are being generated, or that the model is being loaded, until the block is left.

        Raises BuildFailed where the folder of the staged images is gone.
        """
        self._mark, self._keys = self._folder / f"{uuid4().hex}.json", tuple(keys)
        self._write(KILLED)
        _in_flight.add(self)
        try:
            yield
        finally:
            _in_flight.discard(self)
            if not self._is_abandoned:
                self._mark.unlink(missing_ok=True)

    def abandon(self, reason: str) -> None:
        """Leave the note behind with its reason: this process is about to end."""
        self._is_abandoned = True
        self._write(reason)

    def _write(self, reason: str) -> None:
        content = orjson.dumps({"keys": self._keys, "reason": reason})
        try:
            try:
                self._put(content)
            except FileNotFoundError:
                # Not the staged images' own folder: where that is gone, the build has ended.
                for folder in (self._folder.parent.parent, self._folder.parent, self._folder):
                    folder.mkdir(exist_ok=True)
                self._put(content)
        except FileNotFoundError as error:
            raise gone(self._folder.parents[2]) from error

    def _put(self, content: bytes) -> None:
        temporary = self._mark.with_suffix(f".{os.getpid()}")
        temporary.write_bytes(content)
        os.replace(temporary, self._mark)

    def crashes(self) -> list[WorkerCrash]:
        """The processes that ended at this job so far, oldest first."""
        marks = sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        found = [orjson.loads(mark.read_bytes()) for mark in marks]
        return [WorkerCrash(tuple(mark["keys"]), mark["reason"]) for mark in found]

    def clear(self) -> None:
        """The job is done."""
        shutil.rmtree(self._folder, ignore_errors=True)


_in_flight: set[InFlight] = set()


def clear_marks() -> None:
    """Take back what this process has noted: it is told to end, and no image is to blame for that."""
    for job in tuple(_in_flight):
        job._mark.unlink(missing_ok=True)


def strikes(crashes: Sequence[WorkerCrash]) -> Counter[str]:
    """Image key -> how many processes have ended while that image was being generated."""
    return Counter(key for crash in crashes for key in crash.keys)
