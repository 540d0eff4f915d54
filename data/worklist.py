"""The worklist: rows asked for, rows finished and items to build, in an SQLite file beside the dataset.

It is made anew by each build and holds nothing that is not elsewhere. On disk, and not in memory, so that a build of
millions of rows needs no more memory than one of a hundred.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import orjson

from data.errors import BadRow
from data.fast_json import dump, load
from data.identity import content_id, numbered
from data.records import Item, Row, SetAside

_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -65536;
CREATE TABLE rows (number INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, line INTEGER, row TEXT NOT NULL);
CREATE TABLE repeats (id TEXT PRIMARY KEY, times INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE faults (number INTEGER PRIMARY KEY, fault TEXT NOT NULL);
CREATE TABLE finished (
    row_key TEXT PRIMARY KEY, file TEXT NOT NULL, id TEXT NOT NULL, wanted INTEGER DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE twice (row_key TEXT NOT NULL, file TEXT NOT NULL);
CREATE TABLE items (number INTEGER PRIMARY KEY, shard INTEGER NOT NULL, item TEXT NOT NULL);
CREATE TABLE drawings (
    key TEXT PRIMARY KEY, shard INTEGER NOT NULL, model TEXT NOT NULL, file TEXT, row INTEGER, picture TEXT
) WITHOUT ROWID;
CREATE INDEX items_of_shard ON items (shard);
CREATE INDEX drawings_of_shard ON drawings (shard);
"""

# A thousand keys in one statement take a third of the time of a statement each.
_EACH = "SELECT value FROM json_each(?)"

# Not dataclasses.astuple, which copies deeply: it took two fifths of the time of loading.
_ROW = tuple(field.name for field in fields(Row))
_EDIT_PROMPTS, _REFERENCES = _ROW.index("edit_prompts"), _ROW.index("references")
_GUIDES = _ROW.index("guides")


class Worklist:
    """One build's worklist. A connection belongs to one thread; open another for another."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    @classmethod
    @contextmanager
    def create(cls, path: Path) -> Iterator[Worklist]:
        """A new, empty worklist in place of any that is there."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        with cls.open(path) as worklist:
            worklist._db.executescript(_TABLES)
            yield worklist

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[Worklist]:
        """The worklist at ``path``; what was written is kept when the block ends without an error."""
        connection = sqlite3.connect(path)
        try:
            with connection:
                yield cls(connection)
        finally:
            connection.close()

    def add_row(self, own_id: str | None, row: Row) -> None:
        """Add a row under its own id, or under one made from ``row``'s content. Raises BadRow."""
        values = [getattr(row, name) for name in _ROW]
        if own_id:
            values[:2] = own_id, own_id
            if not self._insert(values):
                first = self._db.execute("SELECT line FROM rows WHERE id = ?", (own_id,)).fetchone()[0]
                raise BadRow(f"duplicate id {own_id!r}: line {first} has it too, and comes first")
            return
        values[:2] = content, shown = _content_ids(row)
        if not self._insert(values):
            query = "INSERT INTO repeats VALUES (?, 2) ON CONFLICT DO UPDATE SET times = times + 1 RETURNING times"
            times = self._db.execute(query, (content,)).fetchone()[0]
            values[:2] = numbered(content, times), numbered(shown, times)
            self._insert(values)

    def _insert(self, values: list[Any]) -> bool:
        """Insert a row, its id first; False where that id is taken."""
        insert = "INSERT OR IGNORE INTO rows (id, line, row) VALUES (?, ?, ?)"
        try:
            return self._db.execute(insert, (values[0], values[-1], dump(values))).rowcount == 1
        except UnicodeEncodeError as error:
            raise BadRow(f"text that is not valid Unicode: {error.reason}") from error

    def add_fault(self, fault: SetAside) -> None:
        """Record a line of the prompts file that gave no row."""
        self._db.execute("INSERT INTO faults (fault) VALUES (?)", (dump(asdict(fault)),))

    def faults(self) -> Iterator[SetAside]:
        """The lines that gave no row, in order."""
        for (fault,) in self._db.execute("SELECT fault FROM faults ORDER BY number"):
            yield SetAside(**load(fault))

    def rows(self) -> Iterator[Row]:
        """The rows in the order of the prompts file."""
        for (row,) in self._db.execute("SELECT row FROM rows ORDER BY number"):
            values = load(row)
            values[_EDIT_PROMPTS] = tuple(values[_EDIT_PROMPTS])
            values[_REFERENCES] = tuple(map(tuple, values[_REFERENCES]))
            values[_GUIDES] = tuple(map(tuple, values[_GUIDES]))
            yield Row(*values)

    def add_finished(self, file: str, rows: Iterable[tuple[str, str]]) -> None:
        """Note the rows (row key, id) of a committed file; of a row in two files the first counts."""
        rows = list(rows)
        keys = _json_list(key for key, _ in rows)
        known = {
            key for (key,) in self._db.execute(f"SELECT row_key FROM finished WHERE row_key IN ({_EACH})", (keys,))
        }
        first, again = [], []
        for key, row_id in rows:
            if key in known:
                again.append((key, file))
            else:
                first.append((key, file, row_id))
                known.add(key)
        self._db.executemany("INSERT INTO finished (row_key, file, id) VALUES (?, ?, ?)", first)
        self._db.executemany("INSERT INTO twice VALUES (?, ?)", again)

    def want(self, row_keys: Iterable[str]) -> set[str]:
        """Those of these rows that are finished; they are wanted still."""
        query = f"UPDATE finished SET wanted = 1 WHERE row_key IN ({_EACH}) RETURNING row_key"
        return {key for (key,) in self._db.execute(query, (_json_list(row_keys),))}

    def unwanted(self, keep_gone: bool) -> dict[str, set[str]]:
        """Committed file -> the keys of its rows that are to leave it; files without any are left out.

        With ``keep_gone`` rows stay whose id nobody asks for any more; those that were asked for anew never do.
        """
        found: dict[str, set[str]] = {}
        for file, key in self._db.execute(f"SELECT file, row_key FROM ({_unwanted(keep_gone)})"):
            found.setdefault(file, set()).add(key)
        return found

    def count_unwanted(self, keep_gone: bool) -> int:
        """How many finished rows are to leave the dataset."""
        return self._db.execute(f"SELECT COUNT(*) FROM ({_unwanted(keep_gone)})").fetchone()[0]

    def shard_of(self, key: str) -> int | None:
        """The shard that draws this picture, or None where none does yet."""
        found = self._db.execute("SELECT shard FROM drawings WHERE key = ?", (key,)).fetchone()
        return found and found[0]

    def add_item(self, shard: int, item: Item, models: Iterable[str]) -> None:
        """Put an item into a shard; ``models`` names the model of each of its drawings."""
        self._db.execute(
            "INSERT INTO items (shard, item) VALUES (?, ?)",
            (shard, dump(item.to_json())),
        )
        for drawing, model in zip(item.drawings, models, strict=True):
            self._db.execute(
                "INSERT OR IGNORE INTO drawings (key, shard, model) VALUES (?, ?, ?)", (drawing.key, shard, model)
            )

    def restore_from(self, file: str, first_row: int, picture: str, keys: Iterable[str]) -> None:
        """Note that a committed file's rows, from ``first_row`` on, hold these pictures in the column ``picture``."""
        self._db.executemany(
            "UPDATE drawings SET file = ?, row = ?, picture = ? WHERE key = ? AND file IS NULL",
            ((file, first_row + offset, picture, key) for offset, key in enumerate(keys)),
        )

    def count_drawings(self, keys: Iterable[str | None]) -> int:
        """How many of these pictures are to be drawn."""
        query = "SELECT COUNT(*) FROM drawings WHERE key = ?"
        return sum(self._db.execute(query, (key,)).fetchone()[0] for key in keys)

    def restorable(self, shard: int) -> list[tuple[str, str, int, str]]:
        """(image key, file, row in it, picture column) of a shard's pictures that the dataset has, in order."""
        query = "SELECT key, file, row, picture FROM drawings WHERE shard = ? AND file IS NOT NULL ORDER BY file, row"
        return self._db.execute(query, (shard,)).fetchall()

    def shard(self, number: int) -> list[Item]:
        """A shard's items, in order."""
        query = "SELECT item FROM items WHERE shard = ? ORDER BY number"
        return [Item.from_json(load(item)) for (item,) in self._db.execute(query, (number,))]

    def totals(self) -> tuple[dict[str, int], int]:
        """Drawings to make per model, and how many of all lie in the dataset already."""
        per_model = dict(self._db.execute("SELECT model, COUNT(*) FROM drawings GROUP BY model ORDER BY model"))
        restorable = self._db.execute("SELECT COUNT(*) FROM drawings WHERE file IS NOT NULL").fetchone()[0]
        return per_model, restorable

    def missing(self) -> dict[str, int]:
        """Model -> pictures to draw that lie in no committed file."""
        query = "SELECT model, COUNT(*) FROM drawings WHERE file IS NULL GROUP BY model ORDER BY model"
        return dict(self._db.execute(query))

    def model_of(self, key: str) -> str | None:
        """The model of a picture to draw that lies in no committed file; None where it is not such a one."""
        found = self._db.execute("SELECT model FROM drawings WHERE key = ? AND file IS NULL", (key,)).fetchone()
        return found and found[0]

    def count_items(self) -> int:
        """How many rows are in shards."""
        return self._db.execute("SELECT COUNT(*) FROM items").fetchone()[0]

    def count_rows(self) -> int:
        """How many rows were loaded."""
        return self._db.execute("SELECT COUNT(*) FROM rows").fetchone()[0]


def _json_list(keys: Iterable[str]) -> str:
    return orjson.dumps(list(keys)).decode()


def _unwanted(keep_gone: bool) -> str:
    gone = " AND id IN (SELECT id FROM rows)" if keep_gone else ""
    return f"SELECT file, row_key FROM finished WHERE NOT wanted{gone} UNION ALL SELECT file, row_key FROM twice"


def _content_ids(row: Row) -> tuple[str, str]:
    """The id of a row's content, and that of the picture it starts from: rows of one prompt and two edits share it."""
    shows = {
        "prompt": row.prompt,
        "negative_prompt": row.negative_prompt,
        "seed": row.seed,
        "width": row.width,
        "height": row.height,
        "steps": row.steps,
        "guidance_scale": row.guidance_scale,
        "aspect_ratio": row.aspect_ratio,
        **{role: sha256 for role, _, sha256 in row.guides},
    }
    shown = content_id(shows)
    if not row.edit_prompts and row.picture_hash is None and row.mask_hash is None:
        return shown, shown
    edits = {"edit_prompts": row.edit_prompts or None, "picture": row.picture_hash, "mask": row.mask_hash}
    edits["references"] = [sha256 for _, sha256 in row.references] or None
    return content_id({**shows, **edits}), shown
