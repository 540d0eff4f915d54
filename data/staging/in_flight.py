"""In-flight marks of worker processes: a mark that outlives its process attributes the crash to the images in it.

A process that is killed, or whose device fails, cannot report it; the process that takes over its job reads the marks.
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
from imagemill.data.staging.bundles import missing_folder

KILLED = "killed, or out of host memory"
"""Reason for the end of a process that has left none."""


@dataclass(frozen=True, slots=True)
class WorkerCrash:
    """A worker process that ended during a job."""

    keys: tuple[str, ...]
    """Image keys of the images that it was generating; empty if it was loading the model."""
    reason: str


class InFlight:
    """The marks of one job of one run, beside the staged images."""

    def __init__(self, staging: Path, run: str, keys: Sequence[str]) -> None:
        # Of one run: a killed build takes its workers with it, and no image is to blame for that.
        self._folder = staging / "under-way" / run / digest(sorted(keys))
        # Set by `mark`, before anything is written.
        self._mark: Path
        self._keys: tuple[str, ...] = ()
        self._is_abandoned = False

    @contextmanager
    def mark(self, keys: Sequence[str] = ()) -> Iterator[None]:
        """Mark these images as being generated, or without any the model as being loaded, until the block is left.

        Raises BuildFailed if the folder of the staged images is missing.
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
        """Leave the mark behind with a reason: this process is about to end."""
        self._is_abandoned = True
        self._write(reason)

    def _write(self, reason: str) -> None:
        content = orjson.dumps({"keys": self._keys, "reason": reason})
        try:
            try:
                self._put(content)
            except FileNotFoundError:
                # Without the folder of the staged images itself: if that is missing, the build has ended.
                for folder in (self._folder.parent.parent, self._folder.parent, self._folder):
                    folder.mkdir(exist_ok=True)
                self._put(content)
        except (FileNotFoundError, FileExistsError) as error:
            # FileExistsError: a folder that mkdir found was gone when it looked what it is.
            raise missing_folder(self._folder.parents[2]) from error

    def _put(self, content: bytes) -> None:
        temporary = self._mark.with_suffix(f".{os.getpid()}")
        temporary.write_bytes(content)
        os.replace(temporary, self._mark)

    def crashes(self) -> list[WorkerCrash]:
        """The processes that have ended during this job, oldest first."""
        paths = sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        marks = [orjson.loads(path.read_bytes()) for path in paths]
        return [WorkerCrash(tuple(mark["keys"]), mark["reason"]) for mark in marks]

    def clear(self) -> None:
        """Remove the marks of a finished job."""
        shutil.rmtree(self._folder, ignore_errors=True)


_in_flight: set[InFlight] = set()


def clear_marks() -> None:
    """Remove this process's marks: it was asked to end, and no image is to blame for that."""
    for job in tuple(_in_flight):
        job._mark.unlink(missing_ok=True)


def strikes(crashes: Sequence[WorkerCrash]) -> Counter[str]:
    """Image key -> number of processes that ended while the image was being generated."""
    return Counter(key for crash in crashes for key in crash.keys)
