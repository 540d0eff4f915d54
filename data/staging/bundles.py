"""Bundle files of staged images: each has the images that were encoded together, and is written atomically.

A file is a line of JSON with the encoding, the length in bytes and the record (data.records.Staged) of each image, then
the encoded images one after another. Many images share a file, since creating one takes longer than writing a small
image into it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated
from uuid import uuid4

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from imagemill.data.errors import BuildFailed
from imagemill.data.messages import shown_path
from imagemill.data.records import Staged

SUFFIX = ".staged"

MAX_HEADER = 64 * 2**20
"""Longest first line that is read, in bytes."""

Name = tuple[str, str]
"""Name of a staged image: its image key, and the name of its encoding."""


Natural = Annotated[int, Field(ge=0)]


class _Record(BaseModel):
    """A record as it is read back: the folder may be from someone else."""

    model_config = ConfigDict(strict=True, extra="forbid")
    key: str
    sha256: str
    width: Natural
    height: Natural
    batch_size: Natural
    device: str
    measures: dict[str, bool | int | float | str | None] = {}
    unsafe: bool | None = None
    """As ``truncated`` a field of version 0.1.0, which had no measures."""
    truncated: bool | None = None

    def staged(self) -> Staged:
        """The record."""
        earlier = {"unsafe": self.unsafe, "prompt_truncated": self.truncated}
        known = {name: value for name, value in earlier.items() if value is not None}
        measures = self.measures or known
        return Staged(self.key, self.sha256, self.width, self.height, self.batch_size, self.device, measures)


_HEADER = TypeAdapter(list[tuple[str, Natural, _Record]])


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
            lengths = ((name, len(content), staged) for name, content, staged in images)
            self._files[file] = _entries(path, header, lengths)
            _add(self._entries, self._files[file])

    def refresh(self, remote: bool = False) -> None:
        """Index new files and forget removed ones; with ``remote`` reliably also those of other machines."""
        with self._lock:
            if remote:
                self._invalidate_listing()
            present = {path.name for path in Path(self._folder).glob(f"*{SUFFIX}")}
            for file in present - self._files.keys():
                self._files[file] = read_entries(f"{self._folder}/{file}")
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


def read_entries(path: str) -> dict[Name, BundleEntry]:
    """The images of a bundle; none if it was removed, or is damaged: by a power cut, or by anyone."""
    try:
        with open(path, "rb") as file:
            header, size = file.readline(MAX_HEADER), os.fstat(file.fileno()).st_size
        records = _HEADER.validate_json(header)
    except (OSError, ValueError):
        return {}
    entries = _entries(path, header, [(name, length, record.staged()) for name, length, record in records])
    return entries if size == len(header) + sum(entry.length for entry in entries.values()) else {}


def _add(index: dict[Name, BundleEntry], entries: dict[Name, BundleEntry]) -> None:
    for name, entry in entries.items():
        # Of an image that was staged twice, the record with more measures counts: some are added later.
        if name not in index or _measured(index[name]) <= _measured(entry):
            index[name] = entry


def _measured(entry: BundleEntry) -> int:
    return sum(value is not None for value in entry.staged.measures.values())


def _entries(path: str, header: bytes, records: Iterable[tuple[str, int, Staged]]) -> dict[Name, BundleEntry]:
    entries, start = {}, len(header)
    for encoding, length, staged in records:
        entries[staged.key, encoding] = BundleEntry(path, start, length, staged)
        start += length
    return entries
