"""End of scoring a finished dataset: the new scores become columns, and all other outcomes stay. Chooses nothing."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import orjson

from imagemill.data.config.judging.scorers import apply_formulas, formulas_in_order
from imagemill.data.dataset.card import card_with_scores
from imagemill.data.dataset.files.area import REJECTED, Area
from imagemill.data.dataset.files.outcomes import outcomes_in
from imagemill.data.dataset.files.placing import Settled, settle
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.manifest import write_manifest, write_paths
from imagemill.data.dataset.parquet import read_columns, read_schema
from imagemill.data.dataset.published import publish_recipe
from imagemill.data.planning.judging.finished.plan import read_ledger
from imagemill.data.planning.judging.finished.recipe import ScoringRecipe, operands
from imagemill.data.planning.judging.finished.seen import Looking, StoredImages, StoredLook
from imagemill.data.planning.judging.known_images import KnownImages
from imagemill.data.planning.judging.placements import Placed, Placements
from imagemill.data.scores.journal import ScoreJournal
from imagemill.data.scores.ledger import Ledger
from imagemill.data.scores.listing import listed_scorers, scores_entry, with_scorers
from imagemill.data.scores.records import DECIMALS, ScorerFacts
from imagemill.data.storage.locations import Location

Scores = Mapping[str, float | None]
"""Scorer -> score."""

_OWN, _INPUT = "score_", "input_score_"

_TABLE = """
CREATE TABLE IF NOT EXISTS turn_scores (
    id TEXT NOT NULL, key TEXT NOT NULL, scores TEXT NOT NULL, PRIMARY KEY (id, key)
) WITHOUT ROWID
"""


def publish_scores(
    folder: Folder,
    recipe: ScoringRecipe,
    looking: Looking,
    connection: sqlite3.Connection,
    scorers: Sequence[ScorerFacts],
) -> tuple[dict[str, Any], Settled]:
    """Write the scores that the ledger has into the rows, and list all in card and manifest; returns the manifest.

    Can be called again after a failure. ``scorers``: the user's, for the card.
    """
    ledger = Ledger(folder)
    ledger.absorb(ScoreJournal(folder.score_journal))
    ledger.compact()
    known = KnownImages(connection)
    read_ledger(folder, known, looking)
    places = _Places(recipe, looking, known, connection)
    # Of a row that a kill has left in both, the one in data/ comes last, and counts.
    areas = folder.areas[::-1]
    for area in areas if looking.schema.has_turns else ():
        places.remember(area)
    for area in areas:
        places.add(area)
    settled = settle(
        folder, looking.schema, lambda keys: places.placements.of(keys, keep_removed=True), recipe.dataset.rejected
    )
    before = folder.read_manifest() or {}
    manifest = _manifest(folder, recipe, ledger, before, scorers)
    if manifest != before:
        card = folder.card.read_bytes().decode() if folder.card.exists() else ""
        folder.write(folder.card, card_with_scores(card, looking.schema, manifest, scorers).encode())
        write_paths(folder, recipe.dataset)
        write_manifest(folder, manifest)
    shutil.rmtree(folder.replaced, ignore_errors=True)
    return manifest, settled


def _manifest(
    folder: Folder, recipe: ScoringRecipe, ledger: Ledger, before: Mapping[str, Any], scorers: Sequence[ScorerFacts]
) -> dict[str, Any]:
    """The manifest with the files as they are now, and with the scorers in its recipe."""
    manifest = {**before, "pinned": folder.pinned()}
    for area in folder.areas:
        files = area.committed()[0]
        entry: dict[str, Any] = {
            "rows": sum(file.rows for file in files),
            "bytes": sum(file.bytes for file in files),
            "files": [asdict(file) for file in files],
        }
        if area.name != REJECTED:
            manifest |= entry
        elif files:
            manifest[REJECTED] = {**manifest.get(REJECTED, {}), **entry}
    published = publish_recipe(recipe.dataset.model_dump(mode="json"))[0]
    manifest["recipe"] = {**manifest["recipe"], "scorers": published["scorers"]}
    manifest |= scores_entry(ledger, listed_scorers(before))
    return with_scorers(manifest, scorers, before)


class _Row(NamedTuple):
    """One row, with the outcomes that it has."""

    key: str
    id: str
    images: StoredImages
    outcomes: dict[str, Any]


class _Places:
    """Place of every row, with its new outcomes."""

    def __init__(
        self, recipe: ScoringRecipe, looking: Looking, known: KnownImages, connection: sqlite3.Connection
    ) -> None:
        self._looking, self._known, self._db = looking, known, connection
        self.placements = Placements(connection)
        connection.execute(_TABLE)
        scorers, asked = recipe.dataset.scorers, recipe.asked.scorers.keys()
        formulas = formulas_in_order(scorers)
        # A formula of the dataset's own over scores that stay is not calculated again from what the files round.
        self._formulas = {name: one for name, one in formulas.items() if asked & set(operands(name, scorers))}
        self._names = {*looking.scoring.facts, *self._formulas}
        self._columns = {column.name for column in looking.schema.outcomes}

    def add(self, area: Area) -> None:
        """Record the rows of an area."""
        for file in area.committed()[0]:
            rows = self._rows(area.path / file.name)
            self.placements.place(self._placed(row, area.name, file.split) for row in rows)

    def remember(self, area: Area) -> None:
        """Record the scores of an area's rows, as those of the inputs of later turns."""
        for file in area.committed()[0]:
            found = (
                (row.id, row.images.own.key, orjson.dumps(self._scores(row.images.own, row.outcomes, _OWN)))
                for row in self._rows(area.path / file.name)
                if row.images.own is not None
            )
            self._db.executemany("INSERT OR REPLACE INTO turn_scores VALUES (?, ?, ?)", found)

    def _placed(self, row: _Row, area: str, split: str) -> Placed:
        scores = self._scores(row.images.own, row.outcomes, _OWN)
        if row.images.earlier is None:
            of_input = self._scores(row.images.input, row.outcomes, _INPUT)
        else:
            of_input = self._of_turn(row.id, row.images.earlier)
        outcomes = {f"score_{name}": score for name, score in scores.items()}
        outcomes |= {f"input_score_{name}": score for name, score in of_input.items()}
        known = {name: value for name, value in outcomes.items() if name in self._columns}
        return Placed(row.key, 0, 0, area, split, {**row.outcomes, **known})

    def _of_turn(self, row_id: str, key: str) -> Scores:
        query = "SELECT scores FROM turn_scores WHERE id = ? AND key = ?"
        found = self._db.execute(query, (row_id, key)).fetchone()
        return dict.fromkeys(self._names) if found is None else orjson.loads(found[0])

    def _scores(self, look: StoredLook | None, outcomes: Mapping[str, Any], prefix: str) -> Scores:
        """The user's scores of an image, and all formulas that read one of them."""
        found: dict[str, float | None] = {}
        for name, value in outcomes.items():
            if name.startswith(prefix):
                found[name.removeprefix(prefix)] = None if value is None else round(value, DECIMALS)
        found |= dict.fromkeys(self._looking.scoring.facts)
        if look is None:
            return dict.fromkeys(self._names)
        for facts, request in self._looking.requests(look):
            score = None if request is None else self._known.score(request)
            found[facts.name] = score and score.score
        found = apply_formulas(self._formulas, found)
        return {name: found.get(name) for name in self._names}

    def _rows(self, path: Location) -> Iterator[_Row]:
        looking = self._looking
        outcomes = outcomes_in(read_schema(path)).names
        columns = list(dict.fromkeys([*looking.columns(path), *outcomes]))
        for batch in read_columns(path, columns):
            rows = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
            for fields, images in zip(rows, looking.images(path, rows), strict=True):
                yield _Row(fields["row_key"], fields["id"], images, {name: fields[name] for name in outcomes})
