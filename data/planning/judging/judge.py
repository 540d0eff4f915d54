"""Judge of one build: the recipe's rules, scorers and outcomes together, over a worklist."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field

from imagemill.data.config.judging.judged import rules_of
from imagemill.data.config.recipe import Recipe
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.planning.judging.known_images import KnownImage, KnownImages, KnownScore
from imagemill.data.planning.judging.leftovers import find_leftovers
from imagemill.data.planning.judging.looks import Leaf, Look, Replay
from imagemill.data.planning.judging.outcomes import Outcomes
from imagemill.data.planning.judging.placements import Placements
from imagemill.data.planning.judging.replay import Replayer
from imagemill.data.planning.judging.scoring import Scoring
from imagemill.data.planning.row_planner import RowPlanner
from imagemill.data.prompts.row import Row
from imagemill.data.records import ModelFacts, SetAside
from imagemill.data.scores.records import Score, ScorerFacts


@dataclass(slots=True)
class Knowledge:
    """Known images, scores and failures: those of the worklist, and those of this build since."""

    images: KnownImages
    failures: Mapping[str, SetAside]
    """Row key of a candidate -> why an earlier build set it aside."""
    new_images: dict[str, KnownImage] = field(default_factory=dict)
    new_scores: dict[str, KnownScore] = field(default_factory=dict)
    new_failures: dict[str, SetAside] = field(default_factory=dict)

    def image(self, key: str) -> KnownImage | None:
        """An image by its key; None for one that was never seen."""
        return self.new_images.get(key) or self.images.image(key)

    def score(self, request: str) -> KnownScore | None:
        """The answer to a scorer's request; None if there is none yet."""
        return self.new_scores.get(request) or self.images.score(request)

    def failure(self, row_key: str) -> SetAside | None:
        """Why a candidate was set aside; None if it was not."""
        return self.new_failures.get(row_key) or self.failures.get(row_key)

    def learn(self, scores: tuple[Score, ...]) -> None:
        """Add scores that were computed."""
        self.new_scores |= {score.request: KnownScore(score.score, score.text) for score in scores}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Verdict on one prompts-file row."""

    replay: Replay
    leaves: tuple[Leaf, ...]
    """Its rows in data/ and rejected/; complete if nothing is lacking."""
    to_generate: tuple[Look, ...]
    """Candidates whose image must be generated now."""
    to_score: tuple[Look, ...]
    """Candidates whose image exists, and that a scorer has not scored."""
    to_write: tuple[Leaf, ...]
    """Rows that no committed file has, of images that exist."""

    @property
    def is_final(self) -> bool:
        """True if no image and no score is lacking."""
        return not self.to_generate and not self.to_score

    @property
    def is_finished(self) -> bool:
        """True if the dataset has all that the row asks for; its rows may still be in the wrong place."""
        return self.is_final and not self.to_write


class Judge:
    """Decides about rows, from a worklist's database."""

    def __init__(
        self,
        recipe: Recipe,
        schema: DatasetSchema,
        models: Mapping[str, ModelFacts],
        scorers: Mapping[str, ScorerFacts],
        failures: Mapping[str, SetAside],
        connection: sqlite3.Connection,
    ) -> None:
        self.planner = RowPlanner(recipe, models, schema)
        self.scoring = Scoring(recipe, scorers)
        self.outcomes = Outcomes(recipe, self.scoring)
        self.known = Knowledge(KnownImages(connection), failures)
        self.placements = Placements(connection)
        self._replayer = Replayer(self.planner, rules_of(recipe), self.scoring, self.known)

    def verdict(self, row: Row) -> Verdict:
        """The verdict on a row, by what is known now. Raises BadRow."""
        replay = self._replayer.replay(row)
        stored = self.placements.stored(row.id)
        leaves, lacking = list(replay.leaves), list(replay.wanted)
        if not lacking:
            left = find_leftovers(self.planner, self._replayer, replay, stored)
            edited = {leaf.look.planned.path[0].key for leaf in left if not leaf.is_partial}
            # A source that has edits is their input, and needs no row.
            leaves = [leaf for leaf in leaves if not (leaf.is_partial and leaf.look.key in edited)] + left
            lacking += [leaf.look for leaf in left if leaf.look.lacking and _exists(leaf.look)]
            lacking += [leaf.look for leaf in leaves if leaf.rejected_at is None and not _exists(leaf.look)]
        to_write = [leaf for leaf in leaves if leaf.row_key not in stored and _exists(leaf.look)]
        return Verdict(
            replay,
            tuple(leaves),
            tuple(look for look in lacking if not _exists(look)),
            tuple(look for look in lacking if _exists(look)),
            tuple(to_write),
        )


def _exists(look: Look) -> bool:
    return look.image is not None and look.image.exists
