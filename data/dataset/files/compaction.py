"""Compaction of the committed files: removed rows, one schema for all files, small files merged.

Nothing is generated. Every step leaves whole files only; the next build finishes a step that a kill interrupts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock

from imagemill.data.dataset.files.own_files import read_merge
from imagemill.data.dataset.files.shard_files import CommittedFile, file_name, number_of
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.parquet import merge_files, read_encoding, read_schema
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.storage.locations import Location, hash_file

SMALL_BYTES = 100 * 2**20
"""Files below this size are merged: about one row group as the Hub's viewer recommends it."""

FILE_BYTES = 500 * 2**20
"""Largest merged file: the Hub's own file size."""


def remove_rows(folder: Folder, unwanted: Mapping[str, set[str]]) -> None:
    """Remove rows from committed files: another file replaces each, or it is removed with its last row.

    ``unwanted``: file name -> row keys. Can be called again after a failure: a file that is gone has been replaced.
    """
    finish_merge(folder)
    for name, row_keys in unwanted.items():
        path = folder.data / name
        if not path.exists():
            continue
        file = merge_files([path], folder.scratch(name), read_schema(path), row_keys)
        if file.rows:
            _replace(folder, [name], folder.scratch(name), file)
        else:
            folder.scratch(name).unlink()
            folder.retire(name)


def conform(folder: Folder, schema: DatasetSchema) -> None:
    """Give rows of an earlier recipe the columns of this one, so that the files open together."""
    target = schema.arrow()
    for file in folder.committed()[0]:
        path = folder.data / file.name
        if not read_schema(path).equals(target):
            own = target.with_metadata({**target.metadata, b"imagemill": read_schema(path).metadata[b"imagemill"]})
            whole = merge_files([path], folder.scratch(file.name), own)
            _replace(folder, [file.name], folder.scratch(file.name), whole)


def compact(folder: Folder) -> None:
    """Merge small files with their neighbours, newest first, unless a file is far larger than those after it.

    A dataset that grows by a few rows a night then has few files, and each byte is copied only a few times.
    """
    files, _ = folder.committed()
    while group := mergeable(files):
        if len({read_encoding(folder.data / file.name) for file in group}) > 1:
            files = files[: files.index(group[-1])]
            continue
        _merge(folder, group)
        files = files[: files.index(group[0])]


class Merger:
    """Merges a build's small files while it runs, so that little is left for its end, when no device generates.

    Only files of this build, since the plan refers to the others by name and row. Thread-safe.
    """

    def __init__(self, folder: Folder, first: int) -> None:
        self._folder = folder
        self._next = first
        """The number of the first file that may still be merged."""
        self._done: dict[int, CommittedFile | None] = {}
        """Number -> finished file from there on; None for a shard without a good row, which has no file."""
        self._listing, self._merging = Lock(), Lock()

    def add(self, number: int, file: CommittedFile | None) -> None:
        """Add a shard's file, and merge where there is enough for a full one; only one call at a time merges."""
        with self._listing:
            self._done[number] = file
        if self._merging.acquire(blocking=False):
            try:
                while group := self._take():
                    _merge(self._folder, group)
            finally:
                self._merging.release()

    def _take(self) -> list[CommittedFile]:
        """The first neighbours that fill a file, once all of them and the next are finished; otherwise none."""
        group: list[CommittedFile] = []
        with self._listing:
            number = self._next
            while number in self._done:
                file = self._done[number]
                size = sum(member.bytes for member in group)
                if file and (file.bytes >= SMALL_BYTES or size + file.bytes > FILE_BYTES):
                    # The next group begins with this file, or after it if it is large already.
                    start = number + (file.bytes >= SMALL_BYTES)
                    for done in range(self._next, start):
                        del self._done[done]
                    self._next = start
                    if size >= SMALL_BYTES and len(group) > 1:
                        return group
                    group = [file] if start == number else []
                elif file:
                    group.append(file)
                number += 1
        return []


def mergeable(files: Sequence[CommittedFile]) -> list[CommittedFile]:
    """The last two or more neighbouring files that should be one; empty where there are none."""
    end = len(files)
    while end > 1:
        group, size = [files[end - 1]], files[end - 1].bytes
        for file in reversed(files[: end - 1]):
            if min(file.bytes, size) >= SMALL_BYTES or file.bytes > 2 * size or size + file.bytes > FILE_BYTES:
                break
            group.insert(0, file)
            size += file.bytes
        if len(group) > 1:
            return group
        end -= 1
    return []


def _merge(folder: Folder, group: Sequence[CommittedFile]) -> None:
    scratch = folder.scratch(group[0].name)
    merged = merge_files([folder.data / file.name for file in group], scratch, read_schema(folder.data / group[0].name))
    _replace(folder, [file.name for file in group], scratch, merged)


def _replace(folder: Folder, old: Sequence[str], scratch: Path, file: CommittedFile) -> None:
    """Put a file in the place of committed ones, so that the next build can finish it if a kill interrupts it."""
    number = number_of(old[0])
    merge = {"name": file_name(number, file.sha256), "sha256": file.sha256, "old": list(old)}
    folder.write(folder.merge, json.dumps(merge).encode())
    folder.commit(scratch, number, file)
    _end_merge(folder, old)


def finish_merge(folder: Folder) -> None:
    """Finish a merge that a kill interrupted: if the new file is in place, those that it replaces are removed."""
    if not folder.merge.exists():
        return
    merge = read_merge(folder.merge)
    old = merge["old"] if merge and _is_in_place(folder.data / merge["name"], merge["sha256"]) else []
    _end_merge(folder, old)


def _is_in_place(path: Location, sha256: str) -> bool:
    return path.exists() and hash_file(path) == sha256


def _end_merge(folder: Folder, old: Sequence[str]) -> None:
    for name in old:
        folder.retire(name)
    folder.merge.unlink()
