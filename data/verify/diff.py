"""Comparison of two finished datasets by their image keys: rows of only one, and rows of both with different bytes."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagemill.data.dataset.files.area import EXTRAS, files_of
from imagemill.data.dataset.reader import find_finished, read_rows
from imagemill.data.storage.scratch import scratch_folder

MAX_SHOWN = 5
"""Ids of each kind in the report; all rows are counted."""

# Numbered within their key, so that rows with the same image are compared one by one.
_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE found (side TEXT NOT NULL, key TEXT NOT NULL, sha256 TEXT NOT NULL, id TEXT NOT NULL);
"""
_NUMBER = """
CREATE TABLE {side} (key TEXT, number INTEGER, sha256 TEXT, id TEXT, PRIMARY KEY (key, number)) WITHOUT ROWID;
INSERT INTO {side} SELECT key, row_number() OVER (PARTITION BY key ORDER BY sha256, id), sha256, id
FROM found WHERE side = '{side}';
"""
_ONLY = """SELECT {what} FROM {one} AS mine
WHERE NOT EXISTS (SELECT 1 FROM {other} AS theirs WHERE theirs.key = mine.key AND theirs.number = mine.number)"""
_CHANGED = "SELECT {what} FROM a JOIN b USING (key, number) WHERE a.sha256 <> b.sha256"
_SAME = "SELECT COUNT(*) FROM a JOIN b USING (key, number) WHERE a.sha256 = b.sha256"


@dataclass(frozen=True, slots=True)
class DiffSample:
    """Rows of one kind: their number, and the first few ids in order."""

    rows: int
    ids: list[str]


@dataclass(frozen=True, slots=True)
class Difference:
    """Rows that two datasets have in common, and those that they do not."""

    same: int
    only_a: DiffSample
    only_b: DiffSample
    changed: DiffSample
    """Rows with one image key, so of the same parameters, whose images have different bytes."""
    beside: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Folder beside data/ -> its rows in the one dataset and in the other; only folders that one of them has."""

    @property
    def equal(self) -> bool:
        """True if both hold the same images."""
        return not (self.only_a.rows or self.only_b.rows or self.changed.rows)


def compare(first: str | Path, second: str | Path) -> Difference:
    """Compare two finished datasets in constant memory. Raises NotAnImagemillDataset and OutputError.

    Only images in data/ are compared: rows that differ only in a label are the same. Of other folders rows are counted.
    """
    with (
        tempfile.TemporaryDirectory(prefix="diff-", dir=scratch_folder()) as scratch,
        closing(sqlite3.connect(Path(scratch) / "diff.sqlite")) as database,
    ):
        database.executescript(_TABLES)
        manifests = []
        for side, output in (("a", first), ("b", second)):
            manifests.append(_load(database, side, output))
            database.executescript(_NUMBER.format(side=side))
        a, b = [{name: sum(f["rows"] for f in files_of(manifest, name)) for name in EXTRAS} for manifest in manifests]
        return Difference(
            same=database.execute(_SAME).fetchone()[0],
            only_a=_sample(database, _ONLY, "mine.id", one="a", other="b"),
            only_b=_sample(database, _ONLY, "mine.id", one="b", other="a"),
            changed=_sample(database, _CHANGED, "a.id"),
            beside={name: (a[name], b[name]) for name in EXTRAS if a[name] or b[name]},
        )


def _load(database: sqlite3.Connection, side: str, output: str | Path) -> dict[str, Any]:
    """Load the rows of a dataset; returns its manifest."""
    folder, manifest = find_finished(output)
    for file in manifest["files"]:
        rows = read_rows(folder.data / file["name"], ["image_key", "sha256", "input_sha256", "id"])
        database.executemany(
            "INSERT INTO found VALUES (?, ?, ?, ?)",
            ((side, row["image_key"], _bytes_of(row), row["id"]) for row in rows),
        )
    return manifest


def _bytes_of(row: dict[str, Any]) -> str:
    return f"{row['sha256']} {row.get('input_sha256')}"


def _sample(database: sqlite3.Connection, query: str, name: str, **sides: str) -> DiffSample:
    count = database.execute(query.format(what="COUNT(*)", **sides)).fetchone()[0]
    ids = database.execute(f"{query.format(what=f'{name} AS id', **sides)} ORDER BY 1 LIMIT {MAX_SHOWN}").fetchall()
    return DiffSample(count, [row_id for (row_id,) in ids])
