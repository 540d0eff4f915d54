"""Worklist of a build: requested rows, finished rows and row plans, in an SQLite file next to the dataset.

Every build creates it from scratch, and it contains nothing that is not stored elsewhere. It is on disk so that a build
of millions of rows needs no more memory than one of a hundred.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import repeat
from pathlib import Path

import orjson

from imagemill.data.errors import BadRow
from imagemill.data.identity import dump, load, numbered
from imagemill.data.messages import shown
from imagemill.data.planning.float_ids import find_float_ids
from imagemill.data.prompts.row import Row, content_ids
from imagemill.data.records import RowPlan, SetAside

# Durability is not needed: the file is worthless once its build has ended, in success or failure.
_SCRATCH = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -65536;
"""

# It has no other reader while it is filled, and locking it for every row would take a quarter as long as the insert.
_TABLES = """
PRAGMA locking_mode = EXCLUSIVE;
CREATE TABLE rows (number INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, line INTEGER, row TEXT NOT NULL);
CREATE TABLE repeats (id TEXT PRIMARY KEY, times INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE faults (number INTEGER PRIMARY KEY, fault TEXT NOT NULL);
CREATE TABLE finished (
    number INTEGER PRIMARY KEY, row_key TEXT NOT NULL, file TEXT NOT NULL, id TEXT NOT NULL, wanted INTEGER DEFAULT 0
);
CREATE TABLE images (key TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE twice (row_key TEXT NOT NULL, file TEXT NOT NULL);
CREATE TABLE items (number INTEGER PRIMARY KEY, shard INTEGER NOT NULL, item TEXT NOT NULL);
CREATE TABLE groups (row INTEGER PRIMARY KEY, shard INTEGER NOT NULL, content TEXT NOT NULL);
CREATE TABLE drawings (
    key TEXT PRIMARY KEY, shard INTEGER NOT NULL, model TEXT NOT NULL, file TEXT, row INTEGER, image TEXT
) WITHOUT ROWID;
"""

# Indexing all rows at once sorts them, and takes a third of the time of growing the index row by row.
_INDEX_FINISHED = """
CREATE INDEX finished_by_key ON finished (row_key);
CREATE TEMP TABLE again AS
    SELECT number FROM (SELECT number, row_key, ROW_NUMBER() OVER (PARTITION BY row_key ORDER BY number) AS times
    FROM finished WHERE row_key IN (SELECT row_key FROM finished GROUP BY row_key HAVING COUNT(*) > 1)) WHERE times > 1;
INSERT INTO twice SELECT row_key, file FROM finished WHERE number IN (SELECT number FROM again);
DELETE FROM finished WHERE number IN (SELECT number FROM again);
"""

# As is indexing all planned rows at once.
_INDEX_SHARDS = """
CREATE INDEX items_of_shard ON items (shard);
CREATE INDEX groups_of_shard ON groups (shard);
CREATE INDEX drawings_of_shard ON drawings (shard);
"""

# A thousand keys in one statement take a third of the time of one statement per key.
_EACH = "SELECT value FROM json_each(?)"

_EDIT_PROMPTS, _REFERENCES = Row._fields.index("edit_prompts"), Row._fields.index("references")
_GUIDES = Row._fields.index("guides")


class Worklist:
    """The worklist of one build. A connection belongs to one thread; open another one per thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    @classmethod
    @contextmanager
    def create(cls, path: Path) -> Iterator[Worklist]:
        """Create an empty worklist, replacing an existing one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        # With its companions: a journal beside an empty file could be played back into it.
        for old in path.parent.glob(f"{path.name}*"):
            old.unlink()
        # SQLite would not say why it cannot be created.
        path.touch()
        with cls.open(path) as worklist:
            worklist._db.executescript(_TABLES)
            yield worklist

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[Worklist]:
        """Open the worklist at ``path``; changes are committed when the block ends without an error."""
        connection = sqlite3.connect(path)
        try:
            connection.executescript(_SCRATCH)
            with connection:
                yield cls(connection)
        finally:
            connection.close()

    def add_row(self, own_id: str | None, row: Row, may_repeat: bool = False) -> None:
        """Add a row under its own id, or under one derived from its content. Raises BadRow.

        ``may_repeat``: whether other rows may have this id too; they are then numbered, as those of equal content are.
        """
        if own_id and not may_repeat:
            if not self._insert(own_id, own_id, row):
                first = self._db.execute("SELECT line FROM rows WHERE id = ?", (own_id,)).fetchone()[0]
                raise BadRow(f"duplicate id {shown(own_id)}: line {first} has it too, and comes first")
            return
        content_id, image_id = (own_id, own_id) if own_id else content_ids(row)
        if not self._insert(content_id, image_id, row):
            query = "INSERT INTO repeats VALUES (?, 2) ON CONFLICT DO UPDATE SET times = times + 1 RETURNING times"
            times = self._db.execute(query, (content_id,)).fetchone()[0]
            self._insert(numbered(content_id, times), numbered(image_id, times), row)

    def _insert(self, row_id: str, seed_id: str, row: Row) -> bool:
        """Insert a row under these ids; False if the first is taken."""
        try:
            values = (row_id, row.line, dump((row_id, seed_id, *row[2:])))
            return self._db.execute("INSERT OR IGNORE INTO rows (id, line, row) VALUES (?, ?, ?)", values).rowcount == 1
        except UnicodeEncodeError as error:
            raise BadRow(f"text that is not valid Unicode: {error.reason}") from error

    def add_fault(self, fault: SetAside) -> None:
        """Record a line of the prompts file that yielded no row."""
        self._db.execute("INSERT INTO faults (fault) VALUES (?)", (dump(asdict(fault)),))

    def faults(self) -> Iterator[SetAside]:
        """The lines that yielded no row, in order."""
        for (fault,) in self._db.execute("SELECT fault FROM faults ORDER BY number"):
            yield SetAside(**load(fault))

    def rows(self) -> Iterator[Row]:
        """The rows in the order of the prompts file."""
        return (row for _, row in self.numbered_rows())

    def numbered_rows(self) -> Iterator[tuple[int, Row]]:
        """The rows in the order of the prompts file, with their numbers there."""
        for number, row in self._db.execute("SELECT number, row FROM rows ORDER BY number"):
            yield number, _row(row)

    def add_group(self, shard: int, number: int, row: Row, drawings: Iterable[tuple[str, str]]) -> None:
        """Add a row with all its candidates to a shard; ``drawings``: (key, model) of its images to generate now."""
        self._db.execute("INSERT INTO groups VALUES (?, ?, ?)", (number, shard, dump(tuple(row))))
        self._db.executemany(
            "INSERT OR IGNORE INTO drawings (key, shard, model) VALUES (?, ?, ?)",
            ((key, shard, model) for key, model in drawings),
        )

    def groups(self, shard: int) -> list[tuple[int, Row]]:
        """The groups of a shard, in order: each row with its number."""
        query = "SELECT row, content FROM groups WHERE shard = ? ORDER BY row"
        return [(number, _row(content)) for number, content in self._db.execute(query, (shard,))]

    def add_finished(self, file: str, row_keys: Sequence[str], ids: Sequence[str]) -> None:
        """Record the rows of a committed file; call ``index_finished`` after the last one."""
        self._db.executemany(
            "INSERT INTO finished (row_key, file, id) VALUES (?, ?, ?)", zip(row_keys, repeat(file), ids)
        )

    def index_finished(self) -> None:
        """Index the finished rows for lookup; of duplicate rows, the first counts."""
        self._db.executescript(_INDEX_FINISHED)

    def add_images(self, keys: Iterable[str]) -> None:
        """Record the keys of images that the dataset has."""
        self._db.executemany("INSERT OR IGNORE INTO images VALUES (?)", ((key,) for key in keys))

    def has_image(self, key: str) -> bool:
        """True if an image is among those."""
        return self._db.execute("SELECT 1 FROM images WHERE key = ?", (key,)).fetchone() is not None

    def mark_wanted(self, row_keys: Sequence[str]) -> set[str]:
        """Mark these rows as wanted; returns the keys of those that are finished."""
        query = f"UPDATE finished SET wanted = 1 WHERE row_key IN ({_EACH}) RETURNING row_key"
        return {key for (key,) in self._db.execute(query, (orjson.dumps(row_keys).decode(),))}

    def unwanted(self, keep_removed: bool) -> dict[str, set[str]]:
        """Committed file -> keys of the rows to remove from it; files without any are left out.

        With ``keep_removed``, rows stay if their prompt is gone; rows that have been replaced never do.
        """
        keys: dict[str, set[str]] = {}
        for file, key in self._db.execute(f"SELECT file, row_key FROM ({_unwanted(keep_removed)})"):
            keys.setdefault(file, set()).add(key)
        return keys

    def count_unwanted(self, keep_removed: bool) -> int:
        """Number of finished rows to remove from the dataset."""
        return self._db.execute(f"SELECT COUNT(*) FROM ({_unwanted(keep_removed)})").fetchone()[0]

    def find_float_ids(self) -> tuple[str, str] | None:
        """The ids of two rows, here or in the dataset, of which the second is the first as a float: 1 and 1.0."""
        return find_float_ids(self._db)

    def shard_of(self, key: str) -> int | None:
        """The shard that generates this image; None if it is in none yet."""
        match = self._db.execute("SELECT shard FROM drawings WHERE key = ?", (key,)).fetchone()
        return match and match[0]

    def add_planned_row(self, shard: int, row_plan: RowPlan, models: Iterable[str]) -> None:
        """Add a planned row to a shard; ``models`` names the model of each of its drawings."""
        self._db.execute("INSERT INTO items (shard, item) VALUES (?, ?)", (shard, dump(row_plan.to_json())))
        for drawing, model in zip(row_plan.drawings, models, strict=True):
            self._db.execute(
                "INSERT OR IGNORE INTO drawings (key, shard, model) VALUES (?, ?, ?)", (drawing.key, shard, model)
            )

    def merge_shards(self, count: int) -> int:
        """Merge every ``count`` neighbouring shards into one; returns how many there are then."""
        for table in ("items", "groups", "drawings"):
            self._db.execute(f"UPDATE {table} SET shard = shard / ?", (count,))
        both = "SELECT shard FROM items UNION ALL SELECT shard FROM groups"
        return self._db.execute(f"SELECT COALESCE(MAX(shard) + 1, 0) FROM ({both})").fetchone()[0]

    def renumber_shards(self, numbers: Sequence[int]) -> None:
        """Give each shard, counted from 0, its number in ``numbers``. Call it before ``index_shards``."""
        self._db.execute("CREATE TEMP TABLE renumbered (shard INTEGER PRIMARY KEY, number INTEGER NOT NULL)")
        self._db.executemany("INSERT INTO renumbered VALUES (?, ?)", enumerate(numbers))
        for table in ("items", "groups", "drawings"):
            number = f"SELECT number FROM renumbered WHERE renumbered.shard = {table}.shard"
            self._db.execute(f"UPDATE {table} SET shard = ({number})")
        self._db.execute("DROP TABLE renumbered")

    def index_shards(self) -> None:
        """Index the planned rows for lookup; call it after the last one."""
        self._db.executescript(_INDEX_SHARDS)

    @property
    def connection(self) -> sqlite3.Connection:
        """The database, for tables of other modules."""
        return self._db

    def restore_from(self, file: str, first_row: int, image: str, keys: Iterable[str | None]) -> None:
        """Record that a committed file has these images in the column ``image``, from ``first_row`` on."""
        self._db.executemany(
            "UPDATE drawings SET file = ?, row = ?, image = ? WHERE key = ? AND file IS NULL",
            ((file, first_row + offset, image, key) for offset, key in enumerate(keys)),
        )

    def count_drawings(self, keys: Iterable[str | None]) -> int:
        """Number of these images that are to be generated."""
        query = "SELECT COUNT(*) FROM drawings WHERE key = ?"
        return sum(self._db.execute(query, (key,)).fetchone()[0] for key in keys)

    def restorable(self, shard: int) -> list[tuple[str, str, int, str]]:
        """(image key, file, row in it, image column) of the shard's images that are in the dataset, in order."""
        query = "SELECT key, file, row, image FROM drawings WHERE shard = ? AND file IS NOT NULL ORDER BY file, row"
        return self._db.execute(query, (shard,)).fetchall()

    def shard(self, number: int) -> list[RowPlan]:
        """The planned rows of a shard, in order."""
        query = "SELECT item FROM items WHERE shard = ? ORDER BY number"
        return [RowPlan.from_json(load(fields)) for (fields,) in self._db.execute(query, (number,))]

    def totals(self) -> tuple[dict[str, int], int]:
        """(images to generate per model, number of them that are in the dataset already)."""
        per_model = dict(self._db.execute("SELECT model, COUNT(*) FROM drawings GROUP BY model ORDER BY model"))
        restorable = self._db.execute("SELECT COUNT(*) FROM drawings WHERE file IS NOT NULL").fetchone()[0]
        return per_model, restorable

    def missing(self) -> dict[str, int]:
        """Model -> number of images to generate that are in no committed file."""
        query = "SELECT model, COUNT(*) FROM drawings WHERE file IS NULL GROUP BY model ORDER BY model"
        return dict(self._db.execute(query))

    def model_of(self, key: str) -> str | None:
        """The model of an image to generate; None if it is not one, or is in a committed file."""
        match = self._db.execute("SELECT model FROM drawings WHERE key = ? AND file IS NULL", (key,)).fetchone()
        return match and match[0]

    def count_planned_rows(self) -> int:
        """Number of rows in shards."""
        return self._db.execute("SELECT COUNT(*) FROM items").fetchone()[0]

    def count_rows(self) -> int:
        """Number of rows that were loaded."""
        return self._db.execute("SELECT COUNT(*) FROM rows").fetchone()[0]


def _row(stored: bytes | str) -> Row:
    values = load(stored)
    values[_EDIT_PROMPTS] = tuple(values[_EDIT_PROMPTS])
    values[_REFERENCES] = _tuples(values[_REFERENCES])
    values[_GUIDES] = _tuples(values[_GUIDES])
    return Row._make(values)


def _tuples(values: list[list[str]]) -> tuple[tuple[str, ...], ...]:
    return tuple(map(tuple, values)) if values else ()


def _unwanted(keep_removed: bool) -> str:
    replaced = " AND id IN (SELECT id FROM rows)" if keep_removed else ""
    return f"SELECT file, row_key FROM finished WHERE NOT wanted{replaced} UNION ALL SELECT file, row_key FROM twice"
