"""Area of a dataset: a folder of committed Parquet files with rows, its journal, and its merge in flight.

``data`` is the dataset. ``rejected`` holds the candidates that were not chosen, where a recipe selects; it is a
separate folder, so that data/*.parquet is the dataset alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from imagemill.data.dataset.files.journal import Journal
from imagemill.data.dataset.files.shard_files import TRAIN, CommittedFile, file_name
from imagemill.data.storage.locations import Location

AreaName = Literal["data", "rejected"]

DATA: AreaName = "data"
REJECTED: AreaName = "rejected"


EXTRAS = ("rejected", "pairs", "scores", "answers")
"""Folders of a judged dataset beside data/; the manifest has an entry for each that has files."""


class Area:
    """One of the areas of a dataset; its Folder makes it, and gives ``publish``, ``write`` and ``check_lock``."""

    def __init__(
        self,
        name: AreaName,
        path: Location,
        journal: Journal,
        merge: Location,
        replaced: Path,
        listed: Callable[[], list[dict[str, Any]]],
        check_lock: Callable[[], None],
    ) -> None:
        self.name = name
        self.path = path
        self.journal = journal
        self.merge = merge
        """The file of the merge that is in flight (data.dataset.files.compaction)."""
        self._replaced = replaced
        self._listed = listed
        self._check_lock = check_lock

    def committed(self) -> tuple[list[CommittedFile], list[Location]]:
        """The area's files, by name: those that are as they were committed, and the damaged ones."""
        return self.journal.committed(self.path)

    def commit(self, temporary: Path, number: int, file: CommittedFile, split: str = TRAIN) -> CommittedFile:
        """Move a whole and synced Parquet file into the area, to this place; returns it with its name there."""
        named = replace(file, name=file_name(number, file.sha256, split))
        self.journal.commit(temporary, self.path / named.name, named)
        return named

    def remove(self, name: str) -> None:
        """Remove a committed file."""
        self._check_lock()
        (self.path / name).unlink(missing_ok=True)

    def retire(self, name: str) -> None:
        """Remove a committed file that another replaces.

        A local one of the dataset itself that the manifest lists stays in ``replaced`` until the build ends: a snapshot
        may need it.
        """
        path = self.path / name
        is_listed = self.name == DATA and name in {file["name"] for file in self._listed()}
        if isinstance(path, Path) and path.exists() and is_listed:
            self._replaced.mkdir(parents=True, exist_ok=True)
            os.replace(path, self._replaced / name)
        else:
            self.remove(name)


def files_of(manifest: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The entries of the files in one of the dataset's folders: ``data``, or one of EXTRAS."""
    files: list[dict[str, Any]] = (manifest if name == DATA else manifest.get(name) or {}).get("files", [])
    return files
