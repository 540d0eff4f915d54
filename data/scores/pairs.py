"""Preference pairs: a better and a worse image of one row of the prompts file, by one scorer."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from imagemill.data.config.judging.pairs import Pairs
from imagemill.data.identity import digest
from imagemill.data.scores.records import rounded


@dataclass(frozen=True, slots=True)
class PairCandidate:
    """One image of a row of the prompts file, whose bytes the dataset has."""

    key: str
    """Image key."""
    number: int
    """Of the candidate."""
    score: float | None
    """Of the scorer that ``pairs.by`` names."""
    passed: bool
    """True if it passed ``select.where``."""
    row_key: str = ""
    """Folder of its row: data/, or rejected/."""
    group: str = ""
    """Only images of one group make pairs: of an edit, its source's key and its instruction."""


class Pair(NamedTuple):
    """A better and a worse image, and which of them is ``image_0``."""

    better: PairCandidate
    worse: PairCandidate
    label_0: int
    """1 if the better one is ``image_0``, otherwise 0."""

    @property
    def sides(self) -> tuple[PairCandidate, PairCandidate]:
        """``image_0`` and ``image_1``."""
        return (self.better, self.worse) if self.label_0 else (self.worse, self.better)

    @property
    def difference(self) -> float:
        """Of the two scores, above 0."""
        return rounded((self.better.score or 0.0) - (self.worse.score or 0.0))


def make_pairs(candidates: Sequence[PairCandidate], pairs: Pairs) -> list[Pair]:
    """The pairs of one row of the prompts file: the ``pairs.most`` with the largest difference, largest first.

    Of equal differences those of the lower candidates come first. Equal scores make no pair, nor does an image without
    a score. Which side the better image is on follows from both keys, so that it is no hint.
    """
    groups: dict[str, list[PairCandidate]] = {}
    for candidate in candidates:
        if candidate.score is not None and (candidate.passed or pairs.where == "any"):
            groups.setdefault(candidate.group, []).append(candidate)
    merged = heapq.merge(*(_pairs_of(group) for group in groups.values()), key=_rank)
    wide = (pair for pair in islice(merged, pairs.most) if pair.difference >= pairs.margin)
    return list(wide)


def _pairs_of(group: Sequence[PairCandidate]) -> Iterator[Pair]:
    """All pairs of a group by ``_rank``; made one at a time, since a group of n images has n * (n - 1) / 2."""
    better = sorted(group, key=lambda one: (-rounded(one.score or 0.0), one.number, one.key))
    worse = sorted(group, key=lambda one: (rounded(one.score or 0.0), one.number, one.key))
    # Differences fall along both lists, so that the next pair is always a neighbour of one that is out.
    heap = [(_rank(pair), 0, 0, pair) for pair in [_pair(better[0], worse[0])]]
    while heap:
        _, high, low, pair = heapq.heappop(heap)
        if pair.difference <= 0:
            return
        yield pair
        places = [(high, low + 1)] if low + 1 < len(worse) else []
        if low == 0 and high + 1 < len(better):
            places.append((high + 1, 0))
        for first, second in places:
            following = _pair(better[first], worse[second])
            heapq.heappush(heap, (_rank(following), first, second, following))


def _rank(pair: Pair) -> tuple[float, int, str, int, str]:
    return -pair.difference, pair.better.number, pair.better.key, pair.worse.number, pair.worse.key


def _pair(better: PairCandidate, worse: PairCandidate) -> Pair:
    keys = sorted((better.key, worse.key))
    first = keys[int(digest(keys)[-1], 16) % 2]
    return Pair(better, worse, int(better.key == first))
