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
class Ending:
    """A worker process that ended in the middle of a job."""

    keys: tuple[str, ...]
    """Image keys of the pictures that it was drawing; none where it was loading the model."""
    reason: str


class UnderWay:
    """The notes about one job of one run, beside the staged pictures."""

    def __init__(self, staging: Path, run: str, keys: Sequence[str]) -> None:
        # Of one run: a build that was killed has taken its workers with it, and no picture is to blame for that.
        self._folder = staging / "under-way" / run / digest(sorted(keys))
        self._note: Path | None = None
        self._keys: tuple[str, ...] = ()
        self._is_lost = False

    @contextmanager
    def note(self, keys: Sequence[str] = ()) -> Iterator[None]:
        """Note that these pictures are being drawn, or that the model is being loaded, until the block is left.

        Raises BuildFailed where the folder of the staged pictures is gone.
        """
        self._note, self._keys = self._folder / f"{uuid4().hex}.json", tuple(keys)
        self._write(KILLED)
        _open.add(self)
        try:
            yield
        finally:
            _open.discard(self)
            if not self._is_lost:
                self._note.unlink(missing_ok=True)

    def lose(self, reason: str) -> None:
        """Leave the note behind with its reason: this process is about to end."""
        self._is_lost = True
        self._write(reason)

    def _write(self, reason: str) -> None:
        content = orjson.dumps({"keys": self._keys, "reason": reason})
        try:
            try:
                self._put(content)
            except FileNotFoundError:
                # Not the staged pictures' own folder: where that is gone, the build has ended.
                for folder in (self._folder.parent.parent, self._folder.parent, self._folder):
                    folder.mkdir(exist_ok=True)
                self._put(content)
        except FileNotFoundError as error:
            raise gone(self._folder.parents[2]) from error

    def _put(self, content: bytes) -> None:
        temporary = self._note.with_suffix(f".{os.getpid()}")
        temporary.write_bytes(content)
        os.replace(temporary, self._note)

    def endings(self) -> list[Ending]:
        """The processes that ended at this job so far, oldest first."""
        notes = sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        said = [orjson.loads(note.read_bytes()) for note in notes]
        return [Ending(tuple(one["keys"]), one["reason"]) for one in said]

    def forget(self) -> None:
        """The job is done."""
        shutil.rmtree(self._folder, ignore_errors=True)


_open: set[UnderWay] = set()


def forgive() -> None:
    """Take back what this process has noted: it is told to end, and no picture is to blame for that."""
    for one in tuple(_open):
        one._note.unlink(missing_ok=True)


def strikes(endings: Sequence[Ending]) -> Counter[str]:
    """Image key -> how many processes have ended while that picture was being drawn."""
    return Counter(key for ending in endings for key in ending.keys)
