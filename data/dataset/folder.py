"""Output folder of a dataset: its lock, its pinned decisions, and atomic writes. Its paths: folder_paths.py."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from imagemill.data.dataset.files.area import DATA, REJECTED, Area, AreaName, files_of
from imagemill.data.dataset.files.journal import Journal
from imagemill.data.dataset.files.own_files import read_about, read_manifest
from imagemill.data.dataset.files.shard_files import TRAIN, CommittedFile
from imagemill.data.dataset.folder_paths import FolderPaths
from imagemill.data.errors import NotAnImagemillDataset, OutputError
from imagemill.data.images.codec import ENCODING_VERSION
from imagemill.data.messages import shown, shown_path
from imagemill.data.staging.step_results import StepResults
from imagemill.data.storage.jsonl import append_line, json_line, read_lines
from imagemill.data.storage.locations import Location, RemotePath
from imagemill.data.storage.lock import check_still_locked, lock_local, lock_remote

CONVENTIONS = 2
"""Version of how rows are read and stored, for what an earlier version did otherwise; pinned when a dataset is begun.

1: ids and LLaVA's ``<image>`` as they are given, seeds as int64. 2: ids without blanks and NaN, texts without
``<image>``, seeds as uint64.
"""


class Folder(FolderPaths):
    """One dataset's folder. Making the object touches nothing."""

    def __init__(self, root: str | Path) -> None:
        super().__init__(root)
        self._areas: dict[AreaName, Area] = {
            DATA: self._area(DATA, "files.jsonl", "merge.json"),
            REJECTED: self._area(REJECTED, "rejected.jsonl", "merge-rejected.json"),
        }
        self.data = self.area(DATA).path
        self.journal = self.area(DATA).journal
        self.merge = self.area(DATA).merge

    def _area(self, name: AreaName, journal: str, merge: str) -> Area:
        def listed() -> list[dict[str, Any]]:
            return files_of(self.read_manifest() or {}, name)

        lines = Journal(self.state / journal, self.shared / journal, listed, self.publish, self.write)
        return Area(name, self.root / name, lines, self.shared / merge, self.replaced, listed, self._check_still_locked)

    def area(self, name: AreaName) -> Area:
        """The rows of the dataset (``data``), or those of its candidates that were not chosen (``rejected``)."""
        return self._areas[name]

    @property
    def areas(self) -> tuple[Area, ...]:
        """Both, the dataset first."""
        return tuple(self._areas.values())

    def read_manifest(self) -> dict[str, Any] | None:
        """The dataset's manifest; None if there is none yet. Raises OutputError if it is damaged."""
        return read_manifest(self.manifest, self.about)

    def _read_about(self) -> dict[str, Any]:
        """{"name", "pinned"} of the dataset; empty where there is none yet.

        Raises NotAnImagemillDataset, and OutputError for a damaged file.
        """
        if about := read_about(self.about, self.manifest) or self.read_manifest():
            return {"name": about["name"], "pinned": about["pinned"]}
        # A build that has just begun, or died then, has left nothing but .imagemill.
        if self.root.exists() and (
            not self.root.is_dir() or any(path.name != ".imagemill" for path in self.root.iterdir())
        ):
            raise NotAnImagemillDataset(
                f"the output folder {shown_path(self.root)} exists and is not an imagemill dataset; nothing in it was "
                "touched. Give recipe.output another folder, or an empty one."
            )
        return {}

    def check_owner(self, name: str) -> None:
        """Raise NotAnImagemillDataset if the folder holds anything but the dataset ``name``.

        Raises OutputError if a file of the folder is damaged, or leads out of it.
        """
        self.check_contents(links=False)
        self.read_manifest()
        if isinstance(self.snapshot, Path) and self.snapshot.exists():
            raise NotAnImagemillDataset(
                f"{shown_path(self.root)} is a snapshot, which never changes. Give recipe.output the folder of the "
                "dataset, or a new one."
            )
        owner = self._read_about().get("name", name)
        if owner != name:
            raise NotAnImagemillDataset(
                f"the output folder {shown_path(self.root)} holds the dataset {shown(owner)}, and the recipe's name "
                f"is {shown(name)}; "
                f"nothing in it was touched. Give recipe.output another folder, or name the recipe {shown(owner)}."
            )

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Lock the folder for a build of the dataset ``name``.

        Raises NotAnImagemillDataset and FolderInUse, and then touches nothing.
        """
        self.check_owner(name)
        self.state.mkdir(parents=True, exist_ok=True)
        held = (
            lock_remote(self.lock_file, str(self.root))
            if isinstance(self.lock_file, RemotePath)
            else lock_local(self.state, str(self.root))
        )
        with held:
            # Again: another build may have begun and ended in between.
            self.check_owner(name)
            if self.is_remote:
                for area in self.areas:
                    area.journal.fetch()
            self.staged.mkdir(exist_ok=True)
            StepResults(self.results).remove_others()
            begun = {"name": name, "pinned": {"conventions": CONVENTIONS, "encoding_version": ENCODING_VERSION}}
            self.write(self.about, _json(self._read_about() or begun))
            yield

    def pinned(self) -> dict[str, Any]:
        """Decisions that the recipe leaves open and that were made once for this folder: random seeds, revisions."""
        return self._read_about().get("pinned", {})

    def conventions(self) -> int:
        """The CONVENTIONS that the dataset was begun with: the newest if there is none yet. Raises OutputError."""
        return self._version("conventions", CONVENTIONS)

    def encoding_version(self) -> int:
        """The ENCODING_VERSION that the dataset was begun with: the newest if there is none yet. Raises OutputError."""
        return self._version("encoding_version", ENCODING_VERSION)

    def _version(self, name: str, newest: int) -> int:
        about = self._read_about()
        value = about["pinned"].get(name, 1) if about else newest
        if type(value) is not int or not 1 <= value <= newest:
            raise OutputError(
                f"the dataset's folder.json or manifest.json pins {name!r} to {shown(value)}, which is none of 1 "
                f"to {newest}: build with the version of imagemill that began the dataset, or a later one."
            )
        return value

    def pin(self, name: str, decide: Callable[[], Any]) -> Any:
        """The pinned value of ``name``; decided and recorded now if there is none. The folder must be locked."""
        about = self._read_about()
        if name not in about["pinned"]:
            about["pinned"][name] = decide()
            self.write(self.about, _json(about))
        return about["pinned"][name]

    def repin(self, name: str, value: Any) -> None:
        """Replace the pinned value of ``name``. The folder must be locked."""
        about = self._read_about()
        about["pinned"][name] = value
        self.write(self.about, _json(about))

    def scratch(self, name: str) -> Path:
        """A path for a file while it is written, on the file system of the dataset."""
        self.tmp.mkdir(parents=True, exist_ok=True)
        return self.tmp / name

    def remove(self, name: str) -> None:
        """Remove a committed file of the dataset."""
        self.area(DATA).remove(name)

    def retire(self, name: str) -> None:
        """Remove a committed file of the dataset that another replaces (Area.retire)."""
        self.area(DATA).retire(name)

    def write(self, path: Location, content: bytes) -> None:
        """Write a file atomically; it survives a power cut."""
        temporary = self.scratch(f"{path.name}.{os.getpid()}")
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self.publish(temporary, path)

    def publish(self, temporary: Path, path: Location) -> None:
        """Move a whole and synced file into place."""
        if isinstance(path, RemotePath):
            self._check_still_locked()
            path.put(temporary)
            temporary.unlink()
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(temporary, path)
        sync_folder(path.parent)

    def _check_still_locked(self) -> None:
        """Raise FolderInUse if another build has taken the lock; a local one cannot be taken."""
        if isinstance(self.lock_file, RemotePath):
            check_still_locked(self.lock_file)

    def add_run(self, run: Mapping[str, Any]) -> None:
        """Add a run's line to runs.jsonl."""
        if isinstance(self.runs, RemotePath):
            # An object cannot be appended to.
            self.write(self.runs, b"".join(json_line(line) for line in [*read_lines(self.runs), run]))
        else:
            append_line(self.runs, run)

    def committed(self) -> tuple[list[CommittedFile], list[Location]]:
        """The Parquet files in data/, by name: those that are as they were committed, and the damaged ones."""
        return self.area(DATA).committed()

    def commit(
        self, temporary: Path, number: int, file: CommittedFile, split: str = TRAIN, area: AreaName = DATA
    ) -> CommittedFile:
        """Move a whole and synced Parquet file into an area, to this place; returns it with its name there."""
        return self.area(area).commit(temporary, number, file, split)

    def next_number(self) -> int:
        """The first number that no file of an area has: the same in both for the files of one shard."""
        numbers = [file.number for area in self.areas for file in area.committed()[0]]
        return max(numbers, default=-1) + 1

    def clear_work(self) -> None:
        """Remove everything that only a running build needs."""
        # Moved away first: a worker that still generates for a killed build then stages nothing more there.
        with suppress(FileNotFoundError):
            self.staged.rename(self.scratch(f"staged.{uuid4().hex}"))
        for path in (self.given, self.results, self.tmp, self.replaced):
            shutil.rmtree(path, ignore_errors=True)
        for path in (*self.state.glob("plan.sqlite*"), self.state / "answers.sqlite", self.attempts):
            path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Sync the names in a folder to disk, so that they survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
