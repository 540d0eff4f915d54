"""Journal of a dataset's committed files, by which a build trusts a file without reading it.

A line a file, added before the file gets its place. A remote dataset's journal is in its work folder on this machine,
and shared beside the dataset for the builds of other machines.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from imagemill.data.dataset.parquet import count_rows
from imagemill.data.dataset.shard_files import GLOB, CommittedFile
from imagemill.data.storage.jsonl import append_line, json_line, read_lines
from imagemill.data.storage.locations import Location, hash_file, size_and_version


class Journal:
    """The journal of one dataset. ``publish`` and ``write`` are its folder's: they put files there as a whole."""

    def __init__(
        self,
        path: Path,
        shared: Location,
        manifest: Location,
        publish: Callable[[Path, Location], None],
        write: Callable[[Location, bytes], None],
    ) -> None:
        self.path = path
        self.shared = shared
        """The same file, unless the dataset is remote."""
        self._manifest = manifest
        self._publish = publish
        self._write = write

    @property
    def is_remote(self) -> bool:
        """Whether other machines have a journal of the dataset's too."""
        return self.shared != self.path

    def commit(self, temporary: Path, target: Location, file: CommittedFile) -> None:
        """Give a whole and synced Parquet file its place, replacing one of the same name."""
        # The journal goes first: a kill in between leaves either file known by its sha256.
        entry = {**asdict(file), "name": target.name}
        if not self.is_remote:
            append_line(self.path, entry | size_and_version(temporary)[1])
            self._publish(temporary, target)
            return
        append_line(self.path, entry)
        if target.exists():
            self.share()
        self._publish(temporary, target)
        append_line(self.path, entry | size_and_version(target)[1])

    def committed(self, data: Location) -> tuple[list[CommittedFile], list[Location]]:
        """The Parquet files in the folder ``data``, by name: those that are as they were committed, and damaged ones.

        A file is trusted by size and time of change, a remote one by size and its store's version of it; where these
        are not as recorded (a copied folder, a lost journal, an edited file), its sha256 decides.
        """
        known = self._known()
        whole, damaged = [], []
        for path in sorted(data.glob(GLOB)):
            file = _recognise(path, known.get(path.name, []))
            if file is None:
                damaged.append(path)
            else:
                whole.append(file)
        return whole, damaged

    def share(self) -> None:
        """Put a remote dataset's journal beside it: a build on another machine then need not read its files.

        Only where a file is replaced and when a dataset is complete: a file that is new is known by being whole.
        """
        if self.is_remote:
            self._write(self.shared, self.path.read_bytes())

    def fetch(self) -> None:
        """Add to this machine's journal what other machines have committed, each line once."""
        lines = [json_line(entry) for journal in (self.shared, self.path) for entry in read_lines(journal)]
        self._write(self.path, b"".join(dict.fromkeys(lines)))

    def _known(self) -> dict[str, list[dict[str, Any]]]:
        """File name -> every entry that the manifest and the journals have of it."""
        entries = json.loads(self._manifest.read_bytes())["files"] if self._manifest.exists() else []
        known: dict[str, list[dict[str, Any]]] = {}
        for journal in dict.fromkeys((self.path, self.shared)):
            entries += read_lines(journal)
        for entry in entries:
            known.setdefault(entry["name"], []).append(entry)
        return known


def _recognise(path: Location, known: list[dict[str, Any]]) -> CommittedFile | None:
    """The file at ``path`` if it is as it was committed, or whole and in no journal; otherwise None."""
    size, version = size_and_version(path)
    for entry in known:
        if entry["bytes"] == size and version.items() <= entry.items():
            return CommittedFile(path.name, entry["rows"], entry["bytes"], entry["sha256"])
    sha256, rows = hash_file(path), count_rows(path)
    if rows is None or (known and all(entry["sha256"] != sha256 for entry in known)):
        return None
    return CommittedFile(path.name, rows, size, sha256)
