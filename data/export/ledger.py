"""Ledger of an export: which files it wrote, so that it grows, continues after a kill, and touches no other file.

  export.json              what is exported, and whether it is complete; written first and last
  .export/files.jsonl      a line for each row (or tar, or Parquet file): its name, its stamp and its files
  .export/journal.jsonl    while it is written: files that are about to be written, and rows that are

A file is in the journal before it is on the disk, so that after a kill at any point each file is known.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from filelock import FileLock, Timeout

from imagemill.data.errors import FolderInUse, NotAnImagemillDataset
from imagemill.data.messages import shown, shown_path
from imagemill.data.storage.jsonl import json_line, read_lines

VERSION = 2
"""Of these files. 1 numbered the rows, and an export of it cannot grow."""


class Item(NamedTuple):
    """One row, or one packed file, as it was written."""

    stamp: str
    """Stands for its content."""
    files: tuple[str, ...]


class Ledger:
    """The ledger of one target folder. Making the object touches nothing."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self._marker = target / "export.json"
        self._state = target / ".export"
        self._listed = self._state / "files.jsonl"
        self._journal_path = self._state / "journal.jsonl"
        self._journal: BinaryIO | None = None
        self.items: dict[str, Item] = {}
        """Name -> what is known to be written."""
        self.owned: set[str] = set()
        """Files that this or an earlier export wrote, or was about to write."""

    def current(self, identity: Mapping[str, Any], content: str) -> dict[str, Any] | None:
        """Contents of export.json if the folder holds exactly this export, complete; None if something is missing.

        Raises NotAnImagemillDataset for another export, and for a folder that is none.
        """
        marker = self._check(identity)
        if marker is None or marker.get("complete") is not True or marker.get("content") != content:
            return None
        self._read()
        return marker if all((self.target / name).exists() for name in self.owned) else None

    @contextmanager
    def begun(self, identity: Mapping[str, Any]) -> Iterator[None]:
        """Hold the folder for this export. Raises NotAnImagemillDataset and FolderInUse."""
        self._check(identity)
        self._state.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._state / "lock")
        try:
            lock.acquire(blocking=False)
        except Timeout as error:
            raise FolderInUse(f"another export into {shown_path(self.target)} is running: wait for it.") from error
        try:
            self._write(self._marker, [_indented({**identity, "version": VERSION, "complete": False})])
            self._read()
            with open(self._journal_path, "ab") as journal:
                self._journal = journal
                # After a line that a kill has cut short.
                self._journal.write(b"\n")
                yield
        finally:
            self._journal = None
            lock.release()

    def intend(self, items: Mapping[str, Item]) -> None:
        """Record rows before their files are written. Raises NotAnImagemillDataset for a file that is not ours."""
        for name, item in items.items():
            for file in item.files:
                if file not in self.owned and os.path.lexists(self.target / file):
                    raise NotAnImagemillDataset(
                        f"{shown_path(self.target / file)} exists and is not of this export; it was not "
                        "touched. Move it away, or give --to another folder."
                    )
            self._note(name, Item("", item.files))

    def done(self, items: Mapping[str, Item]) -> None:
        """Record rows whose files are written."""
        for name, item in items.items():
            self._note(name, item)

    def finish(self, wanted: Mapping[str, Item], marker: Mapping[str, Any]) -> int:
        """Remove what is no longer wanted, list what is, and mark the export complete; returns the rows removed."""
        kept = {name for item in wanted.values() for name in item.files}
        folded = {name.casefold(): name for name in kept}
        for name in sorted(self.owned - kept):
            # On a disk that ignores capitals it may be a file that is wanted.
            if not _is_same(self.target / name, folded.get(name.casefold()), self.target):
                _remove(self.target, name)
        removed = len(self.items.keys() - wanted.keys())
        lines = ({"name": name, "stamp": item.stamp, "files": item.files} for name, item in wanted.items())
        self._write(self._listed, map(json_line, lines))
        self._journal_path.unlink()
        self._write(self._marker, [_indented({**marker, "version": VERSION, "complete": True})])
        return removed

    @contextmanager
    def replacing(self, name: str) -> Iterator[BinaryIO]:
        """A file to write, which takes the place of ``name`` when it is whole."""
        path = self.target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = self._state / "writing"
        with open(scratch, "wb") as file:
            yield file
        scratch.replace(path)

    def link(self, name: str, like: str) -> bool:
        """Make ``name`` a hard link of another file of the export; False where the file system has none."""
        path, scratch = self.target / name, self._state / "writing"
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            scratch.unlink(missing_ok=True)
            os.link(self.target / like, scratch)
            scratch.replace(path)
        except OSError:
            return False
        # Renaming one link over another of the same file leaves both.
        scratch.unlink(missing_ok=True)
        return True

    def scratch(self, name: str) -> Path:
        """A path for a file while it is written, on the same file system."""
        return self._state / name

    def _check(self, identity: Mapping[str, Any]) -> dict[str, Any] | None:
        """The marker of this export; None where there is nothing yet. Raises NotAnImagemillDataset otherwise."""
        if not self._marker.exists():
            others = [path for path in self.target.iterdir() if path != self._state] if self.target.is_dir() else []
            if others or (self.target.exists() and not self.target.is_dir()):
                raise NotAnImagemillDataset(
                    f"{shown_path(self.target)} exists and is not an export; nothing in it was touched. "
                    "Give --to an empty folder, or one that does not exist."
                )
            return None
        marker = _read_object(self._marker)
        differing = [name for name in {**identity, **_chosen(marker)} if marker.get(name) != identity.get(name)]
        if differing:
            told = ", ".join(
                f"{name} {shown(marker.get(name))} and not {shown(identity.get(name))}" for name in differing
            )
            raise NotAnImagemillDataset(
                f"{shown_path(self.target)} holds another export: {told}; nothing in it was touched. Give --to another "
                "folder, or delete that one."
            )
        if marker.get("version") != VERSION or (marker.get("complete") is True and not self._listed.exists()):
            raise NotAnImagemillDataset(
                f"{shown_path(self.target)} is an export without a list of its files (of an earlier version, or "
                ".export in it was deleted); nothing in it was touched. Give --to another folder, or delete that one."
            )
        return marker

    def _read(self) -> None:
        for path in (self._listed, self._journal_path):
            for line in read_lines(path):
                files = tuple(name for name in line.get("files") or () if _is_inside(name))
                self.owned.update(files)
                if isinstance(line.get("name"), str):
                    self.items[line["name"]] = Item(str(line.get("stamp")), files)

    def _note(self, name: str, item: Item) -> None:
        """Record a row; without a stamp its files are about to be written."""
        assert self._journal is not None, "the folder is held"
        self._journal.write(json_line({"name": name, "stamp": item.stamp, "files": item.files}))
        self._journal.flush()
        self.items[name] = item
        self.owned.update(item.files)

    def _write(self, path: Path, parts: Iterable[bytes]) -> None:
        scratch = self._state / "listing"
        with open(scratch, "wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {}


_CHOSEN = ("from", "where", "caption", "name", "class", "messages", "sign")


def _chosen(marker: Mapping[str, Any]) -> dict[str, Any]:
    return {name: marker[name] for name in _CHOSEN if name in marker}


def _is_inside(name: Any) -> bool:
    """True if a name in the ledger, which is data, is that of a file below the target."""
    return isinstance(name, str) and bool(name) and not name.startswith("/") and ".." not in name.split("/")


def _is_same(path: Path, other: str | None, target: Path) -> bool:
    return other is not None and path.exists() and (target / other).exists() and path.samefile(target / other)


def _remove(target: Path, name: str) -> None:
    path = target / name
    if not path.parent.resolve().is_relative_to(target.resolve()):
        # Behind a link that someone put there.
        return
    path.unlink(missing_ok=True)
    for parent in list(path.parents)[: len(Path(name).parts) - 1]:
        try:
            parent.rmdir()
        except OSError:
            # Another file is in it.
            return


def _indented(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
