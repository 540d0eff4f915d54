"""End of a judged build: near-duplicates, places of all rows, and pairs. Generates and scores nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from imagemill.data.config.judging.duplicates import PHASH
from imagemill.data.config.judging.judged import rules_of
from imagemill.data.config.recipe import Recipe
from imagemill.data.dataset.files.placing import Settled, settle
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.errors import BuildFailed
from imagemill.data.planning.judging.inverses import Inverses, make_inverses, places_of
from imagemill.data.planning.judging.judge import Judge
from imagemill.data.planning.judging.placements import Kept
from imagemill.data.scores.duplicates import find_duplicates, find_similar
from imagemill.data.scores.funnel import DUPLICATE, bound_that_keeps, histogram
from imagemill.data.scores.journal import ScoreJournal
from imagemill.data.scores.ledger import Ledger
from imagemill.data.scores.pair_files import write_pairs
from imagemill.data.scores.pairs import Pair, make_pairs


def finish_judging(recipe: Recipe, folder: Folder, schema: DatasetSchema, judge: Judge) -> tuple[Settled, int]:
    """Bring every row to its place; returns what moved, and the number of near-duplicates.

    Can be called again after a failure. Raises BuildFailed, and leaves data/ as it was, if no row is kept.
    """
    ledger = Ledger(folder)
    ledger.absorb(ScoreJournal(folder.score_journal))
    ledger.compact()
    _check_kept(recipe, judge)
    duplicates = list(_duplicates(recipe, judge))
    judge.placements.reject(
        (repeated.row_key, {"rejected_by": DUPLICATE, "rejected_at": "publish", "duplicate_of": first.image_key})
        for repeated, first in duplicates
    )
    settled = settle(folder, schema, lambda keys: places_of(judge.placements, keys, recipe), recipe.rejected)
    if Inverses(recipe).are_wanted:
        make_inverses(folder, schema, judge.placements)
    # Files of an earlier recipe that made pairs are removed.
    write_pairs(folder, schema, pairs_of(recipe, judge))
    return settled, len(duplicates)


def pairs_of(recipe: Recipe, judge: Judge) -> list[Pair]:
    """The preference pairs of the rows that are placed, in the order of the prompts file."""
    pairs = recipe.pairs
    if pairs is None:
        return []
    return [pair for group in judge.placements.paired(pairs.by) for pair in make_pairs(group, pairs)]


def _check_kept(recipe: Recipe, judge: Judge) -> None:
    """Raise BuildFailed if there are images and none is kept."""
    if judge.placements.count("data") or not judge.placements.count("rejected"):
        return
    lines = []
    for step, rule in rules_of(recipe).items():
        for name, bounds in rule.where.items():
            scores = [score for score in judge.placements.scores(name) if score is not None]
            if not scores:
                continue
            end: Literal["min", "max"] = "min" if bounds.min is not None else "max"
            half = bound_that_keeps(judge.placements.best_scores(name, end), end)
            lines += [f"{step}.select.where.{name}: {end} {half} would keep half of the rows", *histogram(scores)]
    raise BuildFailed(
        "no image passed, so that nothing would be kept; data/ is as it was, and the images are in rejected/. Lower a "
        "threshold: nothing is generated or scored again.\n" + "\n".join(lines)
    )


def _duplicates(recipe: Recipe, judge: Judge) -> Iterator[tuple[Kept, Kept]]:
    """(row that repeats an image, the first row that has it) among the rows of data/."""
    if recipe.duplicates is None:
        return
    kept, hashes, vectors = [], [], []
    for row in judge.placements.kept():
        number, vector = judge.known.images.extras(row.request) if row.request else (None, None)
        if recipe.duplicates.by == PHASH and number is not None:
            kept.append(row)
            hashes.append(number)
        elif recipe.duplicates.by != PHASH and vector is not None:
            kept.append(row)
            vectors.append(np.frombuffer(vector, "<f2"))
    inputs = [row.input for row in kept]
    if recipe.duplicates.by == PHASH:
        first = find_duplicates(np.array(hashes, np.uint64), recipe.duplicates.distance, inputs)
    else:
        first = find_similar(np.array(vectors), recipe.duplicates.cosine or 1.0, inputs)
    for row, other in zip(kept, first, strict=True):
        if other >= 0:
            yield row, kept[other]
