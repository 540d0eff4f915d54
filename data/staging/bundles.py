"""The files in which staged images lie: each holds images that were encoded together, and is there wholly or not.

A file is a line of JSON, which says of each image its encoding, its length in bytes and how it was generated
(data.records.Staged), and then the encoded images, one after another. One file for many images, since making a file
takes longer than filling it with a small image.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import orjson

from imagemill.data.errors import BuildFailed
from imagemill.data.records import Staged

SUFFIX = ".staged"

_EARLIER_MEASURES = {"unsafe": "unsafe", "truncated": "prompt_truncated"}
"""Fields of the records that version 0.1.0 wrote -> the measures that they are now."""

Name = tuple[str, str]
"""A staged image's name: its image key, and its encoding's name."""


@dataclass(frozen=True, slots=True)
class BundleEntry:
    """Where a staged image lies, and how it was generated."""

    path: str
    start: int
    length: int
    staged: Staged

    def content(self) -> bytes:
        """The encoded image. Raises FileNotFoundError."""
        with open(self.path, "rb", buffering=0) as file:
            file.seek(self.start)
            return file.read(self.length)


class StagedFiles:
    """What lies in one folder, as far as this process knows. All its threads share it."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._files: dict[str, dict[Name, BundleEntry]] = {}
        """File -> what is in it and was not removed."""
        self._places: dict[Name, BundleEntry] = {}

    def add(self, images: Sequence[tuple[str, bytes, Staged]]) -> None:
        """Stage encoded images (encoding's name, content, how it was generated) in one file.

        Raises BuildFailed where the folder is gone. It is not made anew: a worker that still generates for a build that was
        killed would leave its images in a dataset that the next build has finished meanwhile.
        """
        header = orjson.dumps([(name, len(content), staged) for name, content, staged in images]) + b"\n"
        file = uuid4().hex + SUFFIX
        path = f"{self._folder}/{file}"
        parts = [header, *(content for _, content, _ in images)]
        try:
            _write(f"{path}.tmp", parts)
            os.replace(f"{path}.tmp", path)
        except FileNotFoundError as error:
            raise gone(self._folder) from error
        with self._lock:
            self._files[file] = _places(path, header, orjson.loads(header))
            _enter(self._places, self._files[file])

    def refresh(self, surely: bool = False) -> None:
        """Take notice of the files that are new, and of those that are gone; ``surely`` of another machine's too."""
        with self._lock:
            if surely:
                self._forget_listing()
            there = {path.name for path in Path(self._folder).glob(f"*{SUFFIX}")}
            for file in there - self._files.keys():
                self._files[file] = _read_places(f"{self._folder}/{file}")
                _enter(self._places, self._files[file])
            if gone := self._files.keys() - there:
                left: dict[Name, BundleEntry] = {}
                for file in gone:
                    del self._files[file]
                for places in self._files.values():
                    _enter(left, places)
                # At once: other threads look into it without the lock.
                self._places = left

    def _forget_listing(self) -> None:
        # NFS lists a folder from memory, for up to a minute, unless this machine has changed it.
        with suppress(FileNotFoundError), TemporaryDirectory(dir=self._folder):
            pass

    def place(self, name: Name) -> BundleEntry | None:
        """Where the image lies; None where that is not known."""
        return self._places.get(name)

    def names(self) -> set[Name]:
        """All images that are known."""
        with self._lock:
            return set(self._places)

    def remove(self, names: Collection[Name]) -> None:
        """Forget these images; a file goes with the last one in it."""
        with self._lock:
            for file, places in [*self._files.items()]:
                for name in places.keys() & names:
                    del places[name]
                if not places:
                    del self._files[file]
                    Path(self._folder, file).unlink(missing_ok=True)
            for name in names:
                self._places.pop(name, None)

    def drop(self, place: BundleEntry) -> None:
        """Remove a file that is damaged; what else is in it is regenerated too."""
        Path(place.path).unlink(missing_ok=True)
        self.refresh()


def gone(folder: str | Path) -> BuildFailed:
    """What is raised where the folder of a build's staged images is gone."""
    return BuildFailed(
        f"the folder of the staged images, {str(folder)!r}, is gone: the build that asked for them has ended, or "
        "somebody has removed it. What is committed is kept: run the build again."
    )


@lru_cache(maxsize=64)
def staged_files(folder: str) -> StagedFiles:
    """What this process knows of a folder of staged images."""
    return StagedFiles(folder)


def _write(path: str, parts: Sequence[bytes]) -> None:
    # No fsync: after a power cut the sha256 in the record tells a damaged image, and it is regenerated.
    try:
        with open(path, "wb") as file:
            file.writelines(parts)
    except FileNotFoundError:
        raise
    except BaseException:
        # A disk that is full needs the room.
        Path(path).unlink(missing_ok=True)
        raise


def _read_places(path: str) -> dict[Name, BundleEntry]:
    """What lies in a file; nothing where a power cut has left less than all of it, or where it is gone by now."""
    try:
        with open(path, "rb") as file:
            header, size = file.readline(), os.fstat(file.fileno()).st_size
        places = _places(path, header, orjson.loads(header))
    except (FileNotFoundError, ValueError, TypeError):
        return {}
    return places if size == len(header) + sum(place.length for place in places.values()) else {}


def _enter(known: dict[Name, BundleEntry], places: dict[Name, BundleEntry]) -> None:
    for name, place in places.items():
        # Of an image that was staged twice, the record with more measures: some are added later.
        if name not in known or _measured(known[name]) <= _measured(place):
            known[name] = place


def _measured(place: BundleEntry) -> int:
    return sum(value is not None for value in place.staged.measures.values())


def _places(path: str, header: bytes, said: list[tuple[str, int, dict]]) -> dict[Name, BundleEntry]:
    places, start = {}, len(header)
    for encoding, length, fields in said:
        staged = _staged(fields)
        places[staged.key, encoding] = BundleEntry(path, start, length, staged)
        start += length
    return places


def _staged(fields: dict[str, Any]) -> Staged:
    earlier = {name: fields.pop(field, None) for field, name in _EARLIER_MEASURES.items()}
    known = {name: value for name, value in earlier.items() if value is not None}
    return Staged(**{"measures": known, **fields})
