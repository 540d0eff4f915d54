"""Compaction of the committed files: removed rows, one schema for all files, small files merged.

Nothing is generated. Every step leaves whole files only; the next build finishes a step that a kill interrupts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock

from imagemill.data.dataset.files.area import DATA, Area, AreaName
from imagemill.data.dataset.files.own_files import read_merge
from imagemill.data.dataset.files.shard_files import CommittedFile, file_name, number_of, split_of_file
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
            replace_files(folder, folder.area(DATA), [name], folder.scratch(name), file)
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
            replace_files(folder, folder.area(DATA), [file.name], folder.scratch(file.name), whole)


def compact(folder: Folder, area: AreaName = DATA) -> None:
    """Merge small files with their neighbours, newest first, unless a file is far larger than those after it.

    A dataset that grows by a few rows a night then has few files, and each byte is copied only a few times. Files of
    different splits are never merged.
    """
    committed, _ = folder.area(area).committed()
    for split in dict.fromkeys(file.split for file in committed):
        files = [file for file in committed if file.split == split]
        while group := mergeable(files):
            if len({read_encoding(folder.area(area).path / file.name) for file in group}) > 1:
                files = files[: files.index(group[-1])]
                continue
            _merge(folder, group, area)
            files = files[: files.index(group[0])]


class Merger:
    """Merges a build's small files while it runs, so that little is left for its end, when no device generates.

    Only files of this build, since the plan refers to the others by name and row. Each split's are merged by
    themselves. Thread-safe.
    """

    def __init__(self, folder: Folder, first: int, area: AreaName = DATA) -> None:
        self._folder = folder
        self._area = area
        self._first = first
        self._next: dict[str, int] = {}
        """Split -> the number of the first file that may still be merged."""
        self._done: dict[int, dict[str, CommittedFile]] = {}
        """Number -> the finished shard's file of each split: none for a shard without a good row."""
        self._listing, self._merging = Lock(), Lock()

    def add(self, number: int, *files: CommittedFile | None) -> None:
        """Add a shard's files, and merge where there is enough for a full one; only one call at a time merges."""
        with self._listing:
            self._done[number] = {file.split: file for file in files if file}
            for split in self._done[number]:
                self._next.setdefault(split, self._first)
        if self._merging.acquire(blocking=False):
            try:
                while group := self._take():
                    _merge(self._folder, group, self._area)
            finally:
                self._merging.release()

    def _take(self) -> list[CommittedFile]:
        """The first neighbours of one split that fill a file, once they and the next are finished; otherwise none."""
        with self._listing:
            return next(filter(None, map(self._take_of, self._next)), [])

    def _take_of(self, split: str) -> list[CommittedFile]:
        group: list[CommittedFile] = []
        number = self._next[split]
        while number in self._done:
            file = self._done[number].get(split)
            size = sum(member.bytes for member in group)
            if file and (file.bytes >= SMALL_BYTES or size + file.bytes > FILE_BYTES):
                # The next group begins with this file, or after it if it is large already.
                start = number + (file.bytes >= SMALL_BYTES)
                self._next[split] = start
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


def _merge(folder: Folder, group: Sequence[CommittedFile], name: AreaName) -> None:
    area, scratch = folder.area(name), folder.scratch(group[0].name)
    sources = [area.path / file.name for file in group]
    merged = merge_files(sources, scratch, read_schema(sources[0]))
    replace_files(folder, area, [file.name for file in group], scratch, merged)


def replace_files(folder: Folder, area: Area, old: Sequence[str], scratch: Path, file: CommittedFile) -> None:
    """Put a file in the place of committed ones of its split, so that the next build can finish it after a kill."""
    number, split = number_of(old[0]), split_of_file(old[0])
    merge = {"name": file_name(number, file.sha256, split), "sha256": file.sha256, "old": list(old)}
    folder.write(area.merge, json.dumps(merge).encode())
    area.commit(scratch, number, file, split)
    _end_merge(area, old)


def finish_merge(folder: Folder) -> None:
    """Finish a merge that a kill interrupted: if the new file is in place, those that it replaces are removed."""
    for area in folder.areas:
        if area.merge.exists():
            merge = read_merge(area.merge)
            old = merge["old"] if merge and _is_in_place(area.path / merge["name"], merge["sha256"]) else []
            _end_merge(area, old)


def _is_in_place(path: Location, sha256: str) -> bool:
    return path.exists() and hash_file(path) == sha256


def _end_merge(area: Area, old: Sequence[str]) -> None:
    for name in old:
        area.retire(name)
    area.merge.unlink()
