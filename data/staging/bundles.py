"""Bundle files of staged images: each has the images that were encoded together, and is written atomically.

A file is a line of JSON with the encoding, the length in bytes and the record (data.records.Staged) of each image, then
the encoded images one after another. Many images share a file, since creating one takes longer than writing a small
image into it.
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
from imagemill.data.messages import shown_path
from imagemill.data.records import Staged

SUFFIX = ".staged"

_EARLIER_MEASURES = {"unsafe": "unsafe", "truncated": "prompt_truncated"}
"""Field of a record of version 0.1.0 -> its measure."""

Name = tuple[str, str]
"""Name of a staged image: its image key, and the name of its encoding."""


@dataclass(frozen=True, slots=True)
class BundleEntry:
    """Location and record of a staged image."""

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
    """Index of one folder's bundles, shared by all threads of this process."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._files: dict[str, dict[Name, BundleEntry]] = {}
        """File -> its images that were not removed."""
        self._entries: dict[Name, BundleEntry] = {}

    def add(self, images: Sequence[tuple[str, bytes, Staged]]) -> None:
        """Stage encoded images (name of the encoding, content, record) in one file.

        Raises BuildFailed if the folder is missing. It is not created here: a worker that still generates for a killed
        build would leave its images in a dataset that the next build has finished.
        """
        header = orjson.dumps([(name, len(content), staged) for name, content, staged in images]) + b"\n"
        file = uuid4().hex + SUFFIX
        path = f"{self._folder}/{file}"
        parts = [header, *(content for _, content, _ in images)]
        try:
            _write(f"{path}.tmp", parts)
            os.replace(f"{path}.tmp", path)
        except FileNotFoundError as error:
            raise missing_folder(self._folder) from error
        with self._lock:
            self._files[file] = _entries(path, header, orjson.loads(header))
            _add(self._entries, self._files[file])

    def refresh(self, remote: bool = False) -> None:
        """Index new files and forget removed ones; with ``remote`` surely also those of other machines."""
        with self._lock:
            if remote:
                self._invalidate_listing()
            present = {path.name for path in Path(self._folder).glob(f"*{SUFFIX}")}
            for file in present - self._files.keys():
                self._files[file] = _read_entries(f"{self._folder}/{file}")
                _add(self._entries, self._files[file])
            if removed := self._files.keys() - present:
                remaining: dict[Name, BundleEntry] = {}
                for file in removed:
                    del self._files[file]
                for entries in self._files.values():
                    _add(remaining, entries)
                # In one assignment: other threads read it without the lock.
                self._entries = remaining

    def _invalidate_listing(self) -> None:
        # NFS caches a folder's listing for up to a minute, unless this machine changes the folder.
        with suppress(FileNotFoundError), TemporaryDirectory(dir=self._folder):
            pass

    def entry(self, name: Name) -> BundleEntry | None:
        """The image's entry; None if the index has none."""
        return self._entries.get(name)

    def names(self) -> set[Name]:
        """All images in the index."""
        with self._lock:
            return set(self._entries)

    def remove(self, names: Collection[Name]) -> None:
        """Remove these images; a file is deleted with its last image."""
        with self._lock:
            for file, entries in [*self._files.items()]:
                for name in entries.keys() & names:
                    del entries[name]
                if not entries:
                    del self._files[file]
                    Path(self._folder, file).unlink(missing_ok=True)
            for name in names:
                self._entries.pop(name, None)

    def drop(self, entry: BundleEntry) -> None:
        """Delete a damaged file; its other images are regenerated too."""
        Path(entry.path).unlink(missing_ok=True)
        self.refresh()


def missing_folder(folder: str | Path) -> BuildFailed:
    """The error for a missing folder of staged images."""
    return BuildFailed(
        f"the folder of the staged images, {shown_path(folder)}, is gone: the build that requested them has ended, or "
        "the "
        "folder was removed by hand. Committed rows are kept: run the build again."
    )


@lru_cache(maxsize=64)
def staged_files(folder: str) -> StagedFiles:
    """This process's index of a folder of staged images."""
    return StagedFiles(folder)


def _write(path: str, parts: Sequence[bytes]) -> None:
    # No fsync: after a power cut the sha256 in the record reveals a damaged image, which is then regenerated.
    try:
        with open(path, "wb") as file:
            file.writelines(parts)
    except FileNotFoundError:
        raise
    except BaseException:
        # A full disk needs the space.
        Path(path).unlink(missing_ok=True)
        raise


def _read_entries(path: str) -> dict[Name, BundleEntry]:
    """The images of a file; none if a power cut has left it incomplete, or it was removed."""
    try:
        with open(path, "rb") as file:
            header, size = file.readline(), os.fstat(file.fileno()).st_size
        entries = _entries(path, header, orjson.loads(header))
    except (FileNotFoundError, ValueError, TypeError):
        return {}
    return entries if size == len(header) + sum(entry.length for entry in entries.values()) else {}


def _add(index: dict[Name, BundleEntry], entries: dict[Name, BundleEntry]) -> None:
    for name, entry in entries.items():
        # Of an image that was staged twice, the record with more measures counts: some are added later.
        if name not in index or _measured(index[name]) <= _measured(entry):
            index[name] = entry


def _measured(entry: BundleEntry) -> int:
    return sum(value is not None for value in entry.staged.measures.values())


def _entries(path: str, header: bytes, records: list[tuple[str, int, dict[str, Any]]]) -> dict[Name, BundleEntry]:
    entries, start = {}, len(header)
    for encoding, length, fields in records:
        staged = _staged(fields)
        entries[staged.key, encoding] = BundleEntry(path, start, length, staged)
        start += length
    return entries


def _staged(fields: dict[str, Any]) -> Staged:
    earlier = {name: fields.pop(field, None) for field, name in _EARLIER_MEASURES.items()}
    known = {name: value for name, value in earlier.items() if value is not None}
    return Staged(**{"measures": known, **fields})
