"""Replay of the choices of one prompts-file row: its candidates step by step, from what is known of each.

A choice is a function of the recipe's rules and of the scores, so it is replayed by the plan, by the shard that makes
what is missing, and by the end of a build; it is never stored as truth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from imagemill.data.config.chain import Link
from imagemill.data.config.judging.judged import GIVEN
from imagemill.data.config.judging.scorers import apply_formulas
from imagemill.data.config.judging.select import Rule
from imagemill.data.config.steps import Edit
from imagemill.data.planning.judging.known_images import KnownImage, KnownScore
from imagemill.data.planning.judging.scoring import Scoring, Seen
from imagemill.data.planning.row_planner import EditPath, PlannedRow, RowPlanner
from imagemill.data.prompts.row import Row
from imagemill.data.records import SetAside
from imagemill.data.scores.records import ScorerFacts
from imagemill.data.scores.selection import NO_SCORE, Candidate, Choice, choose

GENERATE = "generate"


class Known(Protocol):
    """What is known of images, scores and failures."""

    def image(self, key: str) -> KnownImage | None:
        """An image by its key; None for one that was never seen."""

    def score(self, request: str) -> KnownScore | None:
        """The answer to a scorer's request; None if there is none yet."""

    def failure(self, row_key: str) -> SetAside | None:
        """Why a candidate was set aside; None if it was not."""


@dataclass(frozen=True, slots=True)
class Look:
    """One candidate, and what is known of it."""

    planned: PlannedRow
    number: int
    seen: Seen | None
    """None for an image that was never seen."""
    image: KnownImage | None
    scores: Mapping[str, float | None]
    """Those that are known, formulas included."""
    lacking: tuple[ScorerFacts, ...]
    """Scorers that have not looked at it."""
    failure: SetAside | None = None

    @property
    def key(self) -> str:
        """The image's key."""
        return self.planned.path[-1].key

    @property
    def is_known(self) -> bool:
        """Whether a choice can be made of it."""
        return self.failure is not None or (self.image is not None and not self.lacking)


@dataclass(frozen=True, slots=True)
class Leaf:
    """One row of data/ or rejected/."""

    look: Look
    rejected_at: str | None = None
    """Step whose choice rejects it or its source; None for a row of data/."""
    rejected_by: str | None = None
    input_scores: Mapping[str, float | None] = field(default_factory=dict)
    is_partial: bool = False
    """Whether its image is the input of edits, of which none was made."""

    @property
    def row_key(self) -> str:
        """Key of the row."""
        return self.look.planned.row_key


@dataclass(slots=True)
class Replay:
    """The outcome of one row so far; final if nothing is wanted."""

    row: Row
    leaves: list[Leaf] = field(default_factory=list)
    wanted: list[Look] = field(default_factory=list)
    """Candidates to generate or score before the next choice, of one step each, in the order of the steps."""
    failures: list[tuple[SetAside, bool]] = field(default_factory=list)
    """Candidates that could not be generated or scored, and whether the row has fewer images for it."""
    reasons: dict[str, tuple[str, str] | None] = field(default_factory=dict)
    """Image key of a candidate -> step that rejects it, and why; None if it is kept."""
    choices: list[tuple[Rule, Choice]] = field(default_factory=list)
    """The choices that were made, in order."""

    @property
    def kept(self) -> list[Leaf]:
        """The rows of data/."""
        return [leaf for leaf in self.leaves if leaf.rejected_at is None]


class Level(NamedTuple):
    """One choice: its step, its rule, and the candidates by their numbers."""

    step: str
    is_edit: bool
    rule: Rule
    candidate: Callable[[int], PlannedRow]
    """Number -> candidate."""
    seen: Callable[[PlannedRow, str], Seen]
    """Candidate, and sha256 of its image -> what scorers see."""


class Replayer:
    """Replays rows by one recipe's rules."""

    def __init__(self, planner: RowPlanner, rules: Mapping[str, Rule], scoring: Scoring, known: Known) -> None:
        self._planner, self._rules, self._scoring, self._known = planner, rules, scoring, known

    def replay(self, row: Row) -> Replay:
        """The row's choices as far as they can be made. Raises BadRow."""
        self._planner.check_seed(row)
        replay = Replay(row)
        sources: list[tuple[PlannedRow | None, Mapping[str, float | None]]] = [(None, {})]
        first: list[Look] = []
        if self._planner.makes_first_image:
            looks, choice = self._choose(self.first_level(row), replay, {})
            if not choice.is_final:
                return replay
            first = [looks[number] for number in choice.kept]
            sources = [(look.planned, look.scores) for look in first]
            if not self._planner.edits:
                replay.leaves += map(Leaf, first)
        for link in self._planner.edits:
            sources = [found for source in sources for found in self._edited(row, link, *source, replay)]
        if self._planner.edits and not replay.wanted:
            replay.leaves += _without_edits(first, replay.leaves, self._planner.edits[0].name)
        return replay

    def _edited(
        self,
        row: Row,
        link: Link[Edit],
        source: PlannedRow | None,
        scores: Mapping[str, float | None],
        replay: Replay,
    ) -> Iterator[tuple[PlannedRow, Mapping[str, float | None]]]:
        """The edits of one source that are kept, each a source for the next step."""
        base, last = source, None
        for number, instruction in enumerate(link.section.instructions or row.edit_prompts):
            level = self.edit_level(row, link, base, instruction, number)
            looks, choice = self._choose(level, replay, scores)
            if not choice.is_final:
                last = None
                if link.section.multi_turn:
                    return
                continue
            replay.leaves += [Leaf(looks[kept], input_scores=scores) for kept in choice.kept]
            if not link.section.multi_turn:
                yield from ((looks[kept].planned, looks[kept].scores) for kept in choice.kept)
            elif choice.kept:
                last = base, scores = looks[choice.kept[0]].planned, looks[choice.kept[0]].scores
            else:
                # A turn without an image ends the conversation.
                break
        if last is not None:
            yield last

    def _choose(
        self, level: Level, replay: Replay, input_scores: Mapping[str, float | None]
    ) -> tuple[dict[int, Look], Choice]:
        """Choose among a level's candidates; what is rejected, wanted or failed goes into ``replay``."""
        looks: dict[int, Look] = {}
        known: dict[int, Candidate] = {}
        choice = choose(level.rule, known)
        while new := [number for number in choice.wanted if number not in looks]:
            for number in new:
                look = looks[number] = self.look(level, number)
                if look.is_known:
                    known[number] = Candidate(number, look.scores, failed=look.failure is not None)
            choice = choose(level.rule, known)
        if not choice.is_final:
            replay.wanted += [looks[number] for number in choice.wanted]
            return looks, choice
        partial = not level.is_edit and bool(self._planner.edits)
        replay.reasons |= {looks[number].key: None for number in choice.kept}
        for number, reason in choice.rejected.items():
            replay.reasons[looks[number].key] = level.step, reason
            replay.leaves.append(Leaf(looks[number], level.step, reason, input_scores, partial))
        missing = level.rule.keep - len(choice.kept)
        for look in looks.values():
            if look.failure is not None:
                replay.failures.append((look.failure, missing > 0))
                missing -= 1
                if look.image is not None and look.image.exists:
                    replay.leaves.append(Leaf(look, level.step, NO_SCORE, input_scores, partial))
        replay.choices.append((level.rule, choice))
        return looks, choice

    def look(self, level: Level, number: int) -> Look:
        """What is known of a candidate."""
        planned = level.candidate(number)
        failure = self._known.failure(planned.row_key)
        if level.step == GIVEN:
            image: KnownImage | None = KnownImage(planned.row.image_hash or "", is_staged=True)
        else:
            image = self._known.image(planned.path[-1].key)
        looking = self._scoring.looking(level.is_edit)
        if image is None:
            return Look(planned, number, None, None, {}, tuple(looking), failure)
        seen = level.seen(planned, image.sha256)
        scores: dict[str, float | None] = {}
        lacking = []
        for facts in looking:
            request = self._scoring.request(facts, seen)
            if request is None:
                scores[facts.name] = None
            elif (score := self._known.score(request)) is None:
                lacking.append(facts)
            else:
                scores[facts.name] = score.score
        if not lacking:
            scores = apply_formulas(self._scoring.formulas, scores)
        return Look(planned, number, seen, image, scores, tuple(lacking), failure)

    def first_level(self, row: Row) -> Level:
        """The choice among a row's first images."""

        def candidate(number: int) -> PlannedRow:
            return self._planner.planned_row(row, number, (self._planner.first_image(row, number),))

        step = GIVEN if self._planner.judges_given else GENERATE
        return Level(step, False, self._rules[step], candidate, lambda planned, sha256: Seen(row, sha256))

    def edit_level(self, row: Row, link: Link[Edit], source: PlannedRow | None, instruction: str, turn: int) -> Level:
        """The choice among the edits of a source, or of the row's image, by one instruction."""
        path: EditPath = source.path if source else ()

        def candidate(number: int) -> PlannedRow:
            # Of an image that the row gives, the first edit's number is that of the row's variant.
            variant = source.variant if source else number
            drawing = self._planner.edit(row, variant, link, path, instruction, number if source else 0)
            return self._planner.planned_row(row, variant, (*path, drawing))

        def seen(planned: PlannedRow, sha256: str) -> Seen:
            before = self._known.image(path[-1].key) if path else None
            # The source of a known edit was seen, too.
            source_sha256 = before.sha256 if before else row.image_hash or ""
            return Seen(row, sha256, source_sha256, instruction, turn)

        return Level(link.name, True, self._rules[link.name], candidate, seen)


def _without_edits(sources: Sequence[Look], leaves: Sequence[Leaf], step: str) -> list[Leaf]:
    """A row for each image of which no edit could be made: it is kept, in rejected/."""
    edited = {leaf.look.planned.path[0].key for leaf in leaves if not leaf.is_partial}
    return [Leaf(look, step, NO_SCORE, is_partial=True) for look in sources if look.key not in edited]
