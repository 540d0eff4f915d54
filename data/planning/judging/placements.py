"""Tables of a judged build: the rows that are stored, the groups to build, and where each row belongs.

They are in the worklist's database, like all that a build computes from other files.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import orjson

from imagemill.data.dataset.files.placement import Placement
from imagemill.data.planning.judging.leftovers import Stored
from imagemill.data.scores.pairs import PairCandidate

_TABLES = """
CREATE TABLE IF NOT EXISTS stored_rows (
    row_key TEXT NOT NULL, id TEXT NOT NULL, area TEXT NOT NULL, variant INTEGER NOT NULL, candidate INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS placements (
    row_key TEXT PRIMARY KEY, number INTEGER NOT NULL, candidate INTEGER NOT NULL, area TEXT NOT NULL,
    split TEXT NOT NULL, outcomes TEXT NOT NULL, request TEXT, input TEXT, image_key TEXT, source TEXT,
    pair_group TEXT NOT NULL, passed INTEGER NOT NULL, inverse TEXT
) WITHOUT ROWID;
"""

_EACH = "SELECT value FROM json_each(?)"

_ROWS = ("stored_rows", "placements")


@dataclass(frozen=True, slots=True)
class Placed:
    """Place of one row, and the hash or vector by which near-duplicates are found."""

    row_key: str
    number: int
    """Of its prompts-file row, in the file's order."""
    candidate: int
    area: str
    split: str
    outcomes: Mapping[str, Any]
    request: str | None = None
    """Of its image's hash or vector, where the recipe looks for near-duplicates."""
    input: str | None = None
    """Key or sha256 of its input; rows that share one are no duplicates of each other."""
    image_key: str | None = None
    source: str | None = None
    """Row of the prompts file of whose images preference pairs are made; None where there are none."""
    group: str = ""
    """Only images of one group make pairs."""
    passed: bool = False
    """True if its scores are in the bounds of its step's rule."""
    inverse: str | None = None
    """Instruction of its inverse row, which it has if it is in data/."""


class Kept(NamedTuple):
    """One row of data/, as near-duplicates are found among them."""

    row_key: str
    image_key: str
    request: str | None
    input: str | None


class Placements:
    """Present and intended places of a dataset's rows. A connection belongs to one thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        connection.executescript(_TABLES)

    @property
    def connection(self) -> sqlite3.Connection:
        """The database, for tables of other modules."""
        return self._db

    def add_stored(self, area: str, rows: Iterable[tuple[str, str, int, int]]) -> None:
        """Add rows of a committed file: (row key, id, variant, candidate); call ``index_stored`` after the last."""
        self._db.executemany(
            "INSERT INTO stored_rows (row_key, id, area, variant, candidate) VALUES (?, ?, ?, ?, ?)",
            ((row_key, row_id, area, variant, candidate) for row_key, row_id, variant, candidate in rows),
        )

    def index_stored(self) -> None:
        """Index the stored rows."""
        self._db.executescript(
            "CREATE INDEX stored_by_id ON stored_rows (id); CREATE INDEX stored_by_key ON stored_rows (row_key);"
        )

    def stored(self, row_id: str) -> dict[str, Stored]:
        """Row key -> stored row, of all with this id; of a row in both areas, that of data/."""
        rows = self._db.execute(
            "SELECT row_key, area, variant, candidate FROM stored_rows WHERE id = ? ORDER BY area DESC", (row_id,)
        )
        return {row_key: Stored(*rest) for row_key, *rest in rows}

    def place(self, rows: Iterable[Placed]) -> None:
        """Record where rows belong."""
        self._db.executemany(
            "INSERT OR REPLACE INTO placements VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    row.row_key,
                    row.number,
                    row.candidate,
                    row.area,
                    row.split,
                    orjson.dumps(row.outcomes).decode(),
                    row.request,
                    row.input,
                    row.image_key,
                    row.source,
                    row.group,
                    row.passed,
                    row.inverse,
                )
                for row in rows
            ),
        )

    def kept(self) -> Iterator[Kept]:
        """The rows of data/, in the order of the prompts file and then by candidate."""
        query = (
            "SELECT row_key, image_key, request, input FROM placements WHERE area = 'data' "
            "ORDER BY number, candidate, row_key"
        )
        return (Kept(*row) for row in self._db.execute(query))

    def paired(self, score: str) -> Iterator[list[PairCandidate]]:
        """The images of which pairs may be made, those of one row of the prompts file together."""
        query = (
            "SELECT source, row_key, image_key, candidate, outcomes, passed, pair_group FROM placements "
            "WHERE source IS NOT NULL ORDER BY number, candidate, row_key"
        )
        by_source = groupby(self._db.execute(query), key=itemgetter(0))
        for _, rows in by_source:
            yield [
                PairCandidate(key, number, orjson.loads(outcomes).get(f"score_{score}"), bool(passed), row_key, group)
                for _, row_key, key, number, outcomes, passed, group in rows
            ]

    def count(self, area: str) -> int:
        """Number of rows that belong into an area."""
        return self._db.execute("SELECT COUNT(*) FROM placements WHERE area = ?", (area,)).fetchone()[0]

    def reject(self, duplicates: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Move rows of data/ to rejected/: (row key, further outcomes)."""
        for row_key, outcomes in duplicates:
            (text,) = self._db.execute("SELECT outcomes FROM placements WHERE row_key = ?", (row_key,)).fetchone()
            merged = orjson.dumps({**orjson.loads(text), **outcomes}).decode()
            self._db.execute(
                "UPDATE placements SET area = 'rejected', outcomes = ? WHERE row_key = ?", (merged, row_key)
            )
        # The database keeps no journal, so nothing may be left open for an error of the disk that comes later.
        self._db.commit()

    def of(self, row_keys: Sequence[str], keep_removed: bool, is_planned: bool = False) -> dict[str, Placement]:
        """Places of these stored rows.

        Rows of a recipe that has changed are removed; rows whose prompt is gone as well, unless ``keep_removed``: then
        they are left out, and so stay as they are. ``is_planned``: the groups in shards are not built yet, so that
        their rows are left out too.
        """
        asked = (orjson.dumps(row_keys).decode(),)
        query = f"SELECT row_key, area, split, outcomes FROM placements WHERE row_key IN ({_EACH})"
        found = {
            row_key: Placement(area, split, orjson.loads(outcomes))
            for row_key, area, split, outcomes in self._db.execute(query, asked)
        }
        others = [row_key for row_key in row_keys if row_key not in found]
        if not others:
            return found
        known = " AND id IN (SELECT id FROM rows)" if keep_removed else ""
        if is_planned:
            known += " AND id NOT IN (SELECT id FROM rows JOIN groups ON groups.row = rows.number)"
        query = f"SELECT row_key FROM stored_rows WHERE row_key IN ({_EACH}){known}"
        gone = self._db.execute(query, (orjson.dumps(others).decode(),))
        return found | {row_key: Placement(None, "train", {}) for (row_key,) in gone}

    def inverses(self, row_keys: Sequence[str]) -> dict[str, str]:
        """Row key -> instruction of its inverse row, of those among these that have one."""
        query = (
            f"SELECT row_key, inverse FROM placements WHERE row_key IN ({_EACH}) AND area = 'data' "
            "AND inverse IS NOT NULL"
        )
        return dict(self._db.execute(query, (orjson.dumps(row_keys).decode(),)))

    def known(self, row_keys: Sequence[str]) -> set[str]:
        """Those of these keys whose rows are in a committed file, or have their place."""
        asked = orjson.dumps(row_keys).decode()
        query = " UNION ".join(f"SELECT row_key FROM {table} WHERE row_key IN ({_EACH})" for table in _ROWS)
        return {row_key for (row_key,) in self._db.execute(query, (asked, asked))}

    def count_moved(self) -> tuple[int, int]:
        """Numbers of rows that go to rejected/, and that come back from there."""
        query = (
            "SELECT COALESCE(SUM(s.area = 'data' AND p.area = 'rejected'), 0), "
            "COALESCE(SUM(s.area = 'rejected' AND p.area = 'data'), 0) "
            "FROM stored_rows s JOIN placements p ON s.row_key = p.row_key"
        )
        to_rejected, back = self._db.execute(query).fetchone()
        return to_rejected, back

    def scores(self, name: str) -> Iterator[float | None]:
        """A score of every row, those in rejected/ included."""
        for (outcomes,) in self._db.execute("SELECT outcomes FROM placements"):
            yield orjson.loads(outcomes).get(f"score_{name}")

    def best_scores(self, name: str, end: str) -> list[float | None]:
        """Of each row of the prompts file the highest score, or the lowest where ``end`` is max."""
        best: dict[int, float | None] = {}
        for number, outcomes in self._db.execute("SELECT number, outcomes FROM placements"):
            score, known = orjson.loads(outcomes).get(f"score_{name}"), best.get(number)
            if score is None or known is None:
                best[number] = known if score is None else score
            else:
                best[number] = max(score, known) if end == "min" else min(score, known)
        return [*best.values()]

    def count_gone(self) -> int:
        """Number of stored rows of data/ whose prompt is gone."""
        query = "SELECT COUNT(*) FROM stored_rows WHERE area = 'data' AND id NOT IN (SELECT id FROM rows)"
        return self._db.execute(query).fetchone()[0]
