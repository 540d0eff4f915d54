"""Parts of a dataset as it is now: its committed Parquet files with their rows, listed again while a build runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from imagemill.data.dataset.files.area import files_of
from imagemill.data.dataset.files.own_files import read_journal
from imagemill.data.dataset.files.shard_files import is_file_name, number_of, split_of_file
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.parquet import count_rows
from imagemill.data.storage.locations import Location, size_and_version

AreaName = Literal["data", "rejected", "pairs"]

AREAS: tuple[AreaName, ...] = ("data", "rejected")
"""Folders with the dataset's rows: those that were chosen, and the candidates that were not."""


@dataclass(frozen=True, slots=True)
class Part:
    """One committed file."""

    area: AreaName
    path: Location
    rows: int
    version: str
    """Changes when the file's content does: its size, and its time of change or its store's version."""

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    @property
    def split(self) -> str:
        """The split that its rows belong to."""
        return split_of_file(self.name)

    @property
    def is_content_named(self) -> bool:
        """True if the name has a part of the content's hash, so that no other content ever has it."""
        return self.name.count("-") == 2


@dataclass(frozen=True, slots=True)
class Listing:
    """The dataset's files at one moment."""

    parts: tuple[Part, ...]
    """Of data/, then of rejected/; each in the order of the files' numbers."""
    pairs: tuple[Part, ...]
    """Files with preference pairs."""
    damaged: tuple[str, ...]
    """Files that cannot be read."""

    def of(self, areas: Collection[str]) -> tuple[Part, ...]:
        """The parts in these areas."""
        return tuple(part for part in self.parts if part.area in areas)

    @property
    def rows(self) -> dict[str, int]:
        """Area -> number of its rows."""
        counted: dict[str, int] = dict.fromkeys(AREAS, 0)
        for part in self.parts:
            counted[part.area] += part.rows
        return counted | {"pairs": sum(part.rows for part in self.pairs)}


def list_parts(folder: Folder, before: Listing | None = None) -> Listing:
    """List the dataset's files. Nothing is read of those that ``before`` has. Raises OutputError."""
    known = {(part.area, part.name, part.version): part for part in (*before.parts, *before.pairs)} if before else {}
    recorded: Mapping[str, Collection[tuple[int, int]]] | None = None
    parts: dict[AreaName, list[Part]] = {"data": [], "rejected": [], "pairs": []}
    damaged: list[str] = []
    for area, found in parts.items():
        for path, size, version in _files(folder.root / area):
            part = known.get((area, path.name, version))
            if part is None:
                recorded = _recorded(folder) if recorded is None else recorded
                # The manifest and the journal save opening each file.
                rows = next((rows for rows, bytes in recorded.get(path.name, ()) if bytes == size), None)
                rows = count_rows(path) if rows is None else rows
                if rows is None:
                    damaged.append(f"{area}/{path.name}")
                    continue
                part = Part(area, path, rows, version)
            found.append(part)
    return Listing((*parts["data"], *parts["rejected"]), tuple(parts["pairs"]), tuple(damaged))


def _files(folder: Location) -> Iterator[tuple[Location, int, str]]:
    """Path, size and version of each committed file, in the order of their numbers."""
    if not folder.exists():
        return
    paths = [path for path in folder.glob("*.parquet") if is_file_name(path.name)]
    for path in sorted(paths, key=lambda path: (number_of(path.name), path.name)):
        try:
            size, version = size_and_version(path)
        except FileNotFoundError:
            # A build has replaced it since it was listed.
            continue
        yield path, size, f"{size}-{'-'.join(map(str, version.values()))}"


def _recorded(folder: Folder) -> dict[str, list[tuple[int, int]]]:
    """File name -> (rows, bytes) as the manifest and the journals have them."""
    manifest: dict[str, Any] = folder.read_manifest() or {}
    entries = [entry for name in ("data", "rejected", "pairs") for entry in files_of(manifest, name)]
    for area in folder.areas:
        for journal in dict.fromkeys((area.journal.shared, area.journal.path)):
            entries += read_journal(journal)
    recorded: dict[str, list[tuple[int, int]]] = {}
    for entry in entries:
        recorded.setdefault(entry["name"], []).append((entry["rows"], entry["bytes"]))
    return recorded
