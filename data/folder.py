"""The output folder: where everything lies, who holds it, and how a file becomes visible in it.

<output>/
  data/train-00000.parquet ...   whole files only
  README.md  contact_sheet.jpg  manifest.json  runs.jsonl  set_aside.jsonl
  .imagemill/                    a build's memory; may be deleted between builds
    folder.json   whose folder this is, and the seeds and revisions that were decided once for it
    lock          held while a build runs
    files.jsonl   the committed files, one line each as they are committed
    staged/  results/  tmp/  plan.sqlite   of the build under way; gone when it is complete
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from data.errors import FolderInUse, NotOurs, OutputError
from data.lines import append_line, read_lines
from data.parquet import count_rows
from data.records import CommittedFile

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@contextmanager
def explain_full_disk(folder: Path) -> Iterator[None]:
    """Turn a full or read-only disk below ``folder`` into one clear OutputError."""
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        if not (getattr(error, "errno", None) in _FULL or "disk is full" in str(error)):
            raise
        raise OutputError(
            f"cannot write below {str(folder)!r}: {getattr(error, 'strerror', None) or error}. Make room and run the "
            "build again, or give recipe.output another disk: what is finished is kept."
        ) from error


class Folder:
    """One dataset's folder. Making the object touches nothing."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.data = self.root / "data"
        self.manifest = self.root / "manifest.json"
        self.card = self.root / "README.md"
        self.contact_sheet = self.root / "contact_sheet.jpg"
        self.runs = self.root / "runs.jsonl"
        self.set_aside = self.root / "set_aside.jsonl"
        self.state = self.root / ".imagemill"
        self.about = self.state / "folder.json"
        self.journal = self.state / "files.jsonl"
        self.merge = self.state / "merge.json"
        self.failures = self.state / "failures.jsonl"
        self.staged = self.state / "staged"
        self.results = self.state / "results"
        self.tmp = self.state / "tmp"
        self.plan = self.state / "plan.sqlite"

    def _read_about(self) -> dict[str, Any]:
        """Whose folder this is: {"name", "pinned"}; empty where there is no dataset yet. Raises NotOurs."""
        for path in (self.about, self.manifest):
            if path.exists():
                about = json.loads(path.read_bytes())
                return {"name": about["name"], "pinned": about["pinned"]}
        if self.root.exists() and (not self.root.is_dir() or any(self.root.iterdir())):
            raise NotOurs(
                f"the output folder {str(self.root)!r} exists and is not an imagemill dataset; nothing in it was "
                "touched. Give recipe.output another folder, or an empty one."
            )
        return {}

    def check_owner(self, name: str) -> None:
        """Raises NotOurs when the folder holds anything but the dataset ``name``."""
        owner = self._read_about().get("name", name)
        if owner != name:
            raise NotOurs(
                f"the output folder {str(self.root)!r} holds the dataset {owner!r}, and the recipe's name is {name!r}; "
                f"nothing in it was touched. Give recipe.output another folder, or name the recipe {owner!r}."
            )

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """Hold the folder for a build of the dataset ``name``. Raises NotOurs and FolderInUse, touching nothing."""
        self.check_owner(name)
        about = self._read_about()
        self.state.mkdir(parents=True, exist_ok=True)
        lock, holder = FileLock(self.state / "lock"), self.state / "holder.json"
        try:
            # The system lets go of the lock when its holder dies, however it dies.
            lock.acquire(blocking=False)
        except Timeout as error:
            who = json.loads(holder.read_bytes()) if holder.exists() else {}
            raise FolderInUse(
                f"another build holds the output folder {str(self.root)!r}: process {who.get('pid', '?')} on "
                f"{who.get('host', '?')}, since {who.get('since', '?')}. Wait for it, or stop it and run this again."
            ) from error
        try:
            since = datetime.now(UTC).isoformat(timespec="seconds")
            self.write(holder, _json({"pid": os.getpid(), "host": socket.gethostname(), "since": since}))
            self.write(self.about, _json(about or {"name": name, "pinned": {}}))
            yield
        finally:
            holder.unlink(missing_ok=True)
            # Removed while it is held: whoever opened this file before can then not take it for the lock.
            (self.state / "lock").unlink(missing_ok=True)
            lock.release()

    def pinned(self) -> dict[str, Any]:
        """What the recipe leaves open and was decided once for this folder: drawn seeds, resolved revisions."""
        return self._read_about().get("pinned", {})

    def pin(self, name: str, decide: Callable[[], Any]) -> Any:
        """What was decided for ``name``; decided and recorded now where it was not yet. The folder must be held."""
        about = self._read_about()
        if name not in about["pinned"]:
            about["pinned"][name] = decide()
            self.write(self.about, _json(about))
        return about["pinned"][name]

    def scratch(self, name: str) -> Path:
        """A path for a file that is being written, on the file system of the dataset."""
        self.tmp.mkdir(parents=True, exist_ok=True)
        return self.tmp / name

    def remove(self, name: str) -> None:
        """Remove a committed file."""
        (self.data / name).unlink(missing_ok=True)

    def write(self, path: Path, content: bytes) -> None:
        """Write a file so that it is there wholly or not at all, even after a power cut."""
        temporary = self.scratch(f"{path.name}.{os.getpid()}")
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self.publish(temporary, path)

    @staticmethod
    def publish(temporary: Path, path: Path) -> None:
        """Give a whole and synced file its place."""
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(temporary, path)
        sync_folder(path.parent)

    def committed(self) -> tuple[list[CommittedFile], list[Path]]:
        """The Parquet files in data/, by name: those that are as they were committed, and those that are damaged.

        A file is trusted by size and time of change; where these are not as recorded (a copied folder, a lost
        journal, an edited file), its sha256 decides.
        """
        known = self._known()
        whole, damaged = [], []
        for path in sorted(self.data.glob("train-*.parquet")):
            file = _recognise(path, known.get(path.name, []))
            if file is None:
                damaged.append(path)
            else:
                whole.append(file)
        return whole, damaged

    def commit(self, temporary: Path, name: str, file: CommittedFile) -> None:
        """Give a whole and synced Parquet file its place in data/, in place of one of the same name."""
        # The journal goes first: a kill in between leaves either file known by its sha256.
        entry = {**asdict(file), "name": name, "mtime_ns": temporary.stat().st_mtime_ns}
        append_line(self.journal, entry)
        self.publish(temporary, self.data / name)

    def _known(self) -> dict[str, list[dict[str, Any]]]:
        """All that the manifest and the journal say of each committed file."""
        entries = json.loads(self.manifest.read_bytes())["files"] if self.manifest.exists() else []
        known: dict[str, list[dict[str, Any]]] = {}
        for entry in [*entries, *read_lines(self.journal)]:
            known.setdefault(entry["name"], []).append(entry)
        return known

    def clear_work(self) -> None:
        """Remove what only a build under way needs."""
        for path in (self.staged, self.results, self.tmp):
            shutil.rmtree(path, ignore_errors=True)
        for path in self.state.glob("plan.sqlite*"):
            path.unlink()


def _recognise(path: Path, known: list[dict[str, Any]]) -> CommittedFile | None:
    """The committed file at ``path`` if it is one that was committed, or whole and never heard of; else None."""
    stat = path.stat()
    for entry in known:
        if (entry["bytes"], entry.get("mtime_ns")) == (stat.st_size, stat.st_mtime_ns):
            return CommittedFile(path.name, entry["rows"], entry["bytes"], entry["sha256"])
    sha256, rows = hash_file(path), count_rows(path)
    if rows is None or (known and all(entry["sha256"] != sha256 for entry in known)):
        return None
    return CommittedFile(path.name, rows, stat.st_size, sha256)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def hash_file(path: Path) -> str:
    """sha256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
