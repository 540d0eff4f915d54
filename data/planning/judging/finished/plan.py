"""Plan for scoring a finished dataset: the requests that its ledger lacks, packed into shards of rows."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from imagemill.data.dataset.files.area import DATA, REJECTED, AreaName
from imagemill.data.dataset.files.compaction import finish_merge
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.manifest import candidates_fingerprint, fingerprint
from imagemill.data.dataset.parquet import read_columns, read_presence, read_schema
from imagemill.data.errors import OutputError
from imagemill.data.messages import shown_path
from imagemill.data.planning.judging.finished.seen import Looking, StoredImages, StoredLook
from imagemill.data.planning.judging.known_images import KnownImages
from imagemill.data.scores.ledger import Ledger
from imagemill.data.storage.locations import Location

ROWS_PER_SHARD = 256
"""Rows whose images are staged and scored together."""

_TABLE = "CREATE TABLE score_requests (request TEXT PRIMARY KEY, shard INTEGER NOT NULL) WITHOUT ROWID"


@dataclass(frozen=True, slots=True)
class ScoreShard:
    """Rows of one file, some of whose images lack scores."""

    area: AreaName
    file: str
    rows: tuple[int, ...]
    """Their numbers in the file, ascending."""


@dataclass(slots=True)
class ScorePlan:
    """Work of scoring a finished dataset."""

    rows: int = 0
    """Of data/ and rejected/ together."""
    lacking: Counter[str] = field(default_factory=Counter)
    """Scorer -> scores to compute."""
    without_text: Counter[str] = field(default_factory=Counter)
    """Scorer -> images whose row lacks the text, or the mask, that it reads."""
    without_image: int = 0
    """Rejected images that were not kept, and so cannot be scored."""
    shards: list[ScoreShard] = field(default_factory=list)

    def notes(self) -> list[str]:
        """Sentences on images that get no score."""
        notes = [
            f"{count:,} images get no score by {name}: their rows lack the text or the mask that it reads"
            for name, count in sorted(self.without_text.items())
        ]
        if self.without_image:
            notes.append(f"{self.without_image:,} rejected images were not kept, and so get no new score")
        return notes


def check_whole(folder: Folder, manifest: Mapping[str, Any]) -> None:
    """Raise OutputError unless the files have the rows that the manifest lists; the folder is locked.

    A merge, or a rewriting of files, that was interrupted changes no row.
    """
    finish_merge(folder)
    damaged = [path for area in folder.areas for path in area.committed()[1]]
    if damaged:
        raise OutputError(
            f"{shown_path(damaged[0])} is damaged: `imagemill verify` lists all faults. Restore it from a backup, or "
            "build the dataset again. Nothing was scored."
        )
    paths = {area.name: [area.path / file.name for file in area.committed()[0]] for area in folder.areas}
    expected = manifest.get("candidates_fingerprint")
    is_whole = fingerprint(paths[DATA]) == manifest["fingerprint"] and (
        not expected or candidates_fingerprint([*paths[DATA], *paths[REJECTED]]) == expected
    )
    if not is_whole:
        raise OutputError(
            f"the files in {shown_path(folder.root)} are not those of its manifest.json: a build was interrupted. "
            "Run `imagemill build` with its recipe until it is complete, then score it. Nothing was scored."
        )


def read_ledger(folder: Folder, known: KnownImages, looking: Looking) -> None:
    """Add the scores that the dataset has by these scorers."""
    scorers = {facts.id for facts in looking.scoring.facts.values()}
    for columns in Ledger(folder).read(scorers):
        known.add_score_columns(columns, scorers)
    known.index_scores()


def plan_scores(folder: Folder, looking: Looking, connection: sqlite3.Connection) -> ScorePlan:
    """Assign each request without a score to one shard. The folder is locked, and its ledger has every score so far."""
    connection.execute(_TABLE)
    known, plan = KnownImages(connection), ScorePlan()
    read_ledger(folder, known, looking)
    for area in folder.areas:
        for file in area.committed()[0]:
            _plan_file(plan, looking, known, connection, area.name, area.path / file.name)
    return plan


def _plan_file(
    plan: ScorePlan,
    looking: Looking,
    known: KnownImages,
    connection: sqlite3.Connection,
    area: AreaName,
    path: Location,
) -> None:
    present = {}
    if area == REJECTED:
        images = [name for name in looking.schema.image_columns if name in read_schema(path).names]
        present = {name: read_presence(path, name) for name in images}
    rows: list[int] = []

    def close() -> None:
        if rows:
            plan.shards.append(ScoreShard(area, path.name, tuple(rows)))
            rows.clear()

    for number, images_of_row in enumerate(stored_images(path, looking)):
        plan.rows += 1
        is_lacking = False
        for look in looks_of(images_of_row):
            for facts, request in looking.requests(look):
                if request is None:
                    plan.without_text[facts.name] += 1
                elif known.score(request) is None:
                    if present and not present[look.column][number]:
                        plan.without_image += 1
                        continue
                    # What another row asks too is scored there.
                    added = connection.execute(
                        "INSERT OR IGNORE INTO score_requests VALUES (?, ?)", (request, len(plan.shards))
                    ).rowcount
                    plan.lacking[facts.name] += added
                    is_lacking |= bool(added)
        if is_lacking:
            rows.append(number)
        if len(rows) == ROWS_PER_SHARD:
            close()
    close()


def stored_images(path: Location, looking: Looking) -> Iterator[StoredImages]:
    """The images of every row of a file."""
    for columns in read_columns(path, looking.columns(path)):
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        yield from looking.images(path, rows)


def looks_of(images: StoredImages) -> Sequence[StoredLook]:
    """The row's images that scorers read."""
    return [look for look in (images.own, images.input) if look is not None]


def requests_of(connection: sqlite3.Connection, shard: int) -> set[str]:
    """The requests that are assigned to a shard."""
    return {key for (key,) in connection.execute("SELECT request FROM score_requests WHERE shard = ?", (shard,))}
