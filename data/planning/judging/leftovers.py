"""Rows of the dataset that no choice includes any more: further candidates, and edits of a source that lost its place.

They keep their images and scores in rejected/, from where a later rule takes them back. A row of other settings is no
candidate, and is not found here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from imagemill.data.planning.judging.looks import Leaf, Level, Look, Replay
from imagemill.data.planning.judging.replay import Replayer
from imagemill.data.planning.row_planner import PlannedRow, RowPlanner
from imagemill.data.scores.selection import NO_SCORE, SURPLUS


class Stored(NamedTuple):
    """One row of data/ or rejected/."""

    area: str
    variant: int
    candidate: int


Why = tuple[str, str]
"""Step that rejects an image, and why."""

Scores = Mapping[str, float | None]
"""Scorer -> score."""


class _Source(NamedTuple):
    """An image that edits start from: None for the one that the row gives."""

    planned: PlannedRow | None
    why: Why | None
    scores: Scores


def find_leftovers(planner: RowPlanner, replayer: Replayer, replay: Replay, stored: Mapping[str, Stored]) -> list[Leaf]:
    """The rows of rejected/ for the stored rows of this row that the replay has not.

    ``stored``: row key -> row, of all stored rows with the row's id.
    """
    missing = stored.keys() - {leaf.row_key for leaf in replay.leaves}
    if not missing:
        return []
    search = _Search(planner, replayer, replay, missing, stored)
    return list(search.leaves())


class _Search:
    def __init__(
        self,
        planner: RowPlanner,
        replayer: Replayer,
        replay: Replay,
        missing: set[str],
        stored: Mapping[str, Stored],
    ) -> None:
        self._planner, self._replayer, self._replay, self._missing = planner, replayer, replay, missing
        self._variants = 1 + max(row.variant for row in stored.values())
        self._candidates = 1 + max(row.candidate for row in stored.values())

    def leaves(self) -> Iterator[Leaf]:
        row, edits = self._replay.row, self._planner.edits
        if not self._planner.makes_first_image:
            yield from self._edited(_Source(None, None, {}), 0)
            return
        level = self._replayer.first_level(row)
        for look in self._looks(level, max(self._variants, self._candidates)):
            why = self._why(level, look, None)
            if look.planned.row_key in self._missing:
                yield self._leaf(look, why, level, is_partial=bool(edits))
            if edits and look.image is not None:
                yield from self._edited(_Source(look.planned, why, look.scores), 0)

    def _edited(self, source: _Source, position: int) -> Iterator[Leaf]:
        """The stored edits of one source, by the step at ``position`` and those after it."""
        row, edits = self._replay.row, self._planner.edits
        if position == len(edits):
            return
        link = edits[position]
        instructions = link.section.instructions or row.edit_prompts
        sources = [source]
        for number, instruction in enumerate(instructions):
            found: list[_Source] = []
            for base in sources:
                level = self._replayer.edit_level(row, link, base.planned, instruction, number)
                first = base.planned is None
                for look in self._looks(level, max(self._variants, self._candidates) if first else self._candidates):
                    why = self._why(level, look, base.why)
                    if look.planned.row_key in self._missing:
                        yield self._leaf(look, why, level, base.scores)
                    if look.image is not None:
                        found.append(_Source(look.planned, why, look.scores))
            if link.section.multi_turn:
                sources = found
            for edited in found:
                yield from self._edited(edited, position + 1)

    def _looks(self, level: Level, count: int) -> Iterator[Look]:
        # A language model costs: it is not asked about what no choice looks at.
        return (self._replayer.look(level, number, asks=False) for number in range(max(count, level.rule.of)))

    def _why(self, level: Level, look: Look, inherited: Why | None) -> Why | None:
        return inherited or self._replay.reasons.get(look.key, (level.step, SURPLUS))

    def _leaf(
        self, look: Look, why: Why | None, level: Level, scores: Scores | None = None, is_partial: bool = False
    ) -> Leaf:
        at, by = why or (level.step, NO_SCORE)
        return Leaf(look, at, by, scores or {}, is_partial)
