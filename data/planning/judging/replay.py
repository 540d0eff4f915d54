"""Replay of the choices of one prompts-file row: its candidates step by step, from what is known of each.

A choice is a function of the recipe's rules and of the scores, so it is replayed by the plan, by the shard that makes
what is missing, and by the end of a build; it is never stored as truth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from imagemill.data.config.chain import Link
from imagemill.data.config.judging.judged import GIVEN
from imagemill.data.config.judging.scorers import apply_formulas
from imagemill.data.config.judging.select import Rule
from imagemill.data.config.steps import Edit
from imagemill.data.planning.judging.known_images import KnownImage
from imagemill.data.planning.judging.looks import Known, Leaf, Level, Look, Replay
from imagemill.data.planning.judging.scoring import Scoring, Seen
from imagemill.data.planning.row_planner import EditPath, PlannedRow, RowPlanner
from imagemill.data.prompts.row import Row
from imagemill.data.scores.selection import NO_SCORE, Candidate, Choice, choose, is_within

GENERATE = "generate"


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

    def look(self, level: Level, number: int, asks: bool = True) -> Look:
        """Facts of a candidate. ``asks``: whether a language model is asked about it, too."""
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
        texts: dict[str, str | None] = {}
        lacking = []
        for facts in looking:
            request = self._scoring.request(facts, seen)
            known = None if request is None else self._known.score(request)
            if request is not None and known is None:
                lacking.append(facts)
            elif facts.is_text:
                texts[facts.name] = known and known.text
            else:
                scores[facts.name] = known and known.score
        later = [facts for facts in lacking if facts.question is not None]
        lacking = [facts for facts in lacking if facts.question is None]
        if later and not lacking:
            # A language model is asked last, and only about what nothing else rejects.
            if asks and self._passes_others(level.rule, scores):
                lacking, later = later, []
            else:
                scores |= {facts.name: None for facts in later if not facts.is_text}
                later = []
        if not lacking:
            scores = apply_formulas(self._scoring.formulas, scores)
        return Look(planned, number, seen, image, scores, tuple(lacking), failure, texts, tuple(later))

    def _passes_others(self, rule: Rule, scores: Mapping[str, float | None]) -> bool:
        """True if a candidate passes the part of a rule without language models."""
        known = apply_formulas(self._scoring.formulas, scores)
        others = [name for name in rule.scores if name not in self._scoring.by_chat]
        return not any(
            (score := known.get(name)) is None or (name in rule.where and not is_within(rule.where[name], score))
            for name in others
        )

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
