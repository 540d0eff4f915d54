"""Journal of the committed files: a line for each, which lets a build trust a file without reading it.

The line is appended before the file is moved into place. A remote dataset's journal is in its work folder on this
machine; a copy beside the dataset is for builds on other machines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from imagemill.data.dataset.files.own_files import read_journal
from imagemill.data.dataset.files.shard_files import CommittedFile, fits_name, is_file_name
from imagemill.data.dataset.parquet import count_rows
from imagemill.data.storage.jsonl import append_line, json_line
from imagemill.data.storage.locations import Location, hash_file, size_and_version


class Journal:
    """The journal of one area. ``listed``: entries of its files in the manifest; the other two are its Folder's."""

    def __init__(
        self,
        path: Path,
        shared: Location,
        listed: Callable[[], list[dict[str, Any]]],
        publish: Callable[[Path, Location], None],
        write: Callable[[Location, bytes], None],
    ) -> None:
        self.path = path
        self.shared = shared
        """The same file as ``path`` unless the dataset is remote."""
        self._listed = listed
        self._publish = publish
        self._write = write

    @property
    def is_remote(self) -> bool:
        """True if builds on other machines have journals too."""
        return self.shared != self.path

    def commit(self, temporary: Path, target: Location, file: CommittedFile) -> None:
        """Move a whole and synced Parquet file into place."""
        # The journal first: after a kill in between the file is known by its sha256.
        entry = asdict(file)
        if not self.is_remote:
            append_line(self.path, entry | size_and_version(temporary)[1])
            self._publish(temporary, target)
            return
        append_line(self.path, entry)
        self._publish(temporary, target)
        append_line(self.path, entry | size_and_version(target)[1])

    def committed(self, data: Location) -> tuple[list[CommittedFile], list[Location]]:
        """The Parquet files in a folder, by name: those that are as they were committed, and the damaged ones.

        A file is trusted by size and time of change, a remote one by size and its store's version of it; where these
        are not as recorded (a copied folder, a lost journal, an edited file), its sha256 decides.
        """
        known = self._known()
        whole, damaged = [], []
        paths: Iterable[Location] = data.glob("*.parquet")
        for path in sorted((path for path in paths if is_file_name(path.name)), key=lambda path: path.name):
            file = _recognise(path, known.get(path.name, []))
            if file is None:
                damaged.append(path)
            else:
                whole.append(file)
        return whole, damaged

    def share(self) -> None:
        """Copy a remote dataset's journal beside it, so that builds on other machines need not read its files.

        Needed only when the dataset is complete: a new file is accepted if it is whole and its name fits its content.
        """
        if self.is_remote and self.path.exists():
            self._write(self.shared, self.path.read_bytes())

    def fetch(self) -> None:
        """Merge the shared journal into this machine's, each line once."""
        lines = [json_line(entry) for journal in (self.shared, self.path) for entry in read_journal(journal)]
        if lines or self.path.exists():
            self._write(self.path, b"".join(dict.fromkeys(lines)))

    def _known(self) -> dict[str, list[dict[str, Any]]]:
        """File name -> all its entries in the manifest and the journals."""
        entries = list(self._listed())
        known: dict[str, list[dict[str, Any]]] = {}
        for journal in dict.fromkeys((self.path, self.shared)):
            entries += read_journal(journal)
        for entry in entries:
            known.setdefault(entry["name"], []).append(entry)
        return known


def _recognise(path: Location, known: list[dict[str, Any]]) -> CommittedFile | None:
    """The file at ``path`` if it is as it was committed, or whole and without any entry; otherwise None."""
    size, version = size_and_version(path)
    for entry in known:
        if entry["bytes"] == size and version.items() <= entry.items():
            return CommittedFile(path.name, entry["rows"], entry["bytes"], entry["sha256"])
    sha256, rows = hash_file(path), count_rows(path)
    if rows is None or not fits_name(path.name, sha256):
        return None
    if known and all(entry["sha256"] != sha256 for entry in known):
        return None
    return CommittedFile(path.name, rows, size, sha256)
