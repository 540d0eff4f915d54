"""Index of the images and scores that a build has already, in the worklist's database.

Images of committed files, of both areas, are found by their keys; scores by their requests.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from imagemill.data.scores.records import Score

_TABLES = """
CREATE TABLE IF NOT EXISTS known_images (
    key TEXT PRIMARY KEY, sha256 TEXT NOT NULL, file TEXT, row INTEGER, image TEXT, encoding TEXT, lossless INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS known_scores (
    request TEXT PRIMARY KEY, scorer TEXT NOT NULL, pixels TEXT NOT NULL, image_key TEXT NOT NULL,
    sha256 TEXT NOT NULL, score REAL, hash TEXT, vector BLOB, text TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS staged_images (key TEXT PRIMARY KEY) WITHOUT ROWID;
"""

_NAMES = ("request", "scorer", "pixels", "image_key", "sha256", "score", "hash", "vector", "text")
"""Fields of a score, in the order of the table's columns."""


class KnownImage(NamedTuple):
    """One image that was generated before."""

    sha256: str
    """Of its encoded bytes, as scorers' requests have it."""
    file: str | None = None
    """The committed file that has it, such as data/train-00000-3f9a2b1c.parquet; None if it is kept nowhere."""
    row: int | None = None
    image: str | None = None
    """Column of the file."""
    encoding: str | None = None
    """Name of the encoding in the file."""
    is_lossless: bool = False
    is_staged: bool = False
    """True if it is staged, by this build or by an interrupted one."""

    @property
    def is_stored(self) -> bool:
        """True if a committed file has it."""
        return self.file is not None

    @property
    def exists(self) -> bool:
        """True if it need not be generated to be stored."""
        return self.is_stored or self.is_staged


class KnownScore(NamedTuple):
    """One score of the ledger."""

    score: float | None
    text: str | None = None


class KnownImages:
    """Images and scores by key. A connection belongs to one thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        connection.executescript(_TABLES)

    def add_images(
        self,
        entries: Iterable[tuple[str, str, int]],
        file: str,
        image: str,
        encoding: str,
        is_lossless: bool,
    ) -> None:
        """Add images of one column of a committed file: (key, sha256, row). Of several copies the first counts."""
        self._db.executemany(
            "INSERT INTO known_images VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET "
            "sha256 = excluded.sha256, file = excluded.file, row = excluded.row, image = excluded.image, "
            "encoding = excluded.encoding, lossless = excluded.lossless "
            # Nothing can be generated from a lossy copy.
            "WHERE known_images.file IS NULL OR (excluded.lossless AND NOT known_images.lossless)",
            ((key, sha256, file, row, image, encoding, is_lossless) for key, sha256, row in entries),
        )

    def add_seen(self, keys: Iterable[tuple[str, str]]) -> None:
        """Add images that were scored: (key, sha256). The facts of a committed file take precedence."""
        self._db.executemany("INSERT OR IGNORE INTO known_images (key, sha256, lossless) VALUES (?, ?, 0)", keys)

    def add_scores(self, scores: Iterable[Score]) -> None:
        """Add scores, and their facts about their images."""
        rows = list(scores)
        self.add_seen((score.image_key, score.sha256) for score in rows)
        self._insert(tuple(getattr(score, name) for name in _NAMES) for score in rows)

    def add_score_columns(self, columns: Mapping[str, Sequence[Any]], scorers: Collection[str]) -> None:
        """Add the scores of these scorers from columns of the ledger."""
        rows = zip(*(columns[name] for name in _NAMES), strict=True)
        self._insert(row for row in rows if row[1] in scorers)

    def _insert(self, rows: Iterable[tuple[Any, ...]]) -> None:
        # SQLite's integers have 63 bits and a sign.
        self._db.executemany(
            "INSERT OR REPLACE INTO known_scores VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            ((*row[:6], None if row[6] is None else f"{row[6]:016x}", *row[7:]) for row in rows),
        )

    def index_scores(self) -> None:
        """Index the scores by their images; call it after the ledger's last."""
        self._db.execute("CREATE INDEX IF NOT EXISTS scores_by_image ON known_scores (image_key)")

    def scores_of(self, key: str, scorer: str) -> list[Score]:
        """The scores that a scorer has given to an image of this key, in whatever file it was."""
        rows = self._db.execute("SELECT * FROM known_scores WHERE image_key = ? AND scorer = ?", (key, scorer))
        return [
            Score(scorer, request, pixels, key, sha256, score, None if hashed is None else int(hashed, 16), *rest)
            for request, _, pixels, _, sha256, score, hashed, *rest in rows
        ]

    def add_staged(self, keys: Iterable[str]) -> None:
        """Add images that an interrupted build has staged."""
        self._db.executemany("INSERT OR IGNORE INTO staged_images VALUES (?)", ((key,) for key in keys))

    def image(self, key: str) -> KnownImage | None:
        """Facts of an image; None for an unknown one."""
        row = self._db.execute(
            "SELECT sha256, file, row, image, encoding, lossless, EXISTS (SELECT 1 FROM staged_images s WHERE "
            "s.key = k.key) FROM known_images k WHERE key = ?",
            (key,),
        ).fetchone()
        if row is None:
            return None
        sha256, file, number, image, encoding, lossless, staged = row
        return KnownImage(sha256, file, number, image, encoding, bool(lossless), bool(staged))

    def score(self, request: str) -> KnownScore | None:
        """The answer to a request; None if there is none yet."""
        row = self._db.execute("SELECT score, text FROM known_scores WHERE request = ?", (request,)).fetchone()
        return row and KnownScore(*row)

    def extras(self, request: str) -> tuple[int | None, bytes | None]:
        """(perceptual hash, vector) that came with the answer to a request."""
        row = self._db.execute("SELECT hash, vector FROM known_scores WHERE request = ?", (request,)).fetchone()
        return (None, None) if row is None else (None if row[0] is None else int(row[0], 16), row[1])
