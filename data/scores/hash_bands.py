"""Index of 64-bit hashes by bands: finds the pairs that differ in few bits, without comparing each with each.

The pigeonhole principle: let there be m bands of bits, and for each a number t, with the sum d - m + 1. Hashes that
differ in at most d bits differ in at most t bits of some band. So only hashes whose values of a band are that close are
compared (M. Norouzi, A. Punjani and D. Fleet, "Fast Search in Hamming Space with Multi-Index Hashing", 2012).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import inf

import numpy as np

_BITS = 64
_SPLITS = (4, 5, 6)
"""Numbers of bands to choose from. Few are wide: fewer pairs to compare, in more and smaller blocks."""
_MAX_FLIPS = 500
_BLOCK_COST = 4000
"""Time that a block takes, however small: that of this number of comparisons."""
_BLOCK = 1 << 22
"""Comparisons at a time: about 40 MB."""


def near_pairs(hashes: np.ndarray, distance: int, most: int) -> tuple[np.ndarray, np.ndarray] | None:
    """All pairs of hashes (uint64) that differ in at most ``distance`` bits: their numbers, the first the lower.

    None where bands save no comparisons, since too many hashes are alike, or where there are over ``most`` pairs.
    """
    searches = [BandSearch(hashes, distance, bands) for bands in _SPLITS]
    search = min(searches, key=BandSearch.cost)
    if search.cost() > len(hashes) ** 2 / 2:
        return None
    found = [np.empty(0, np.int64)]
    count = 0
    for left, right in search.pairs():
        count += len(left)
        if count > most:
            return None
        found.append(np.minimum(left, right) * len(hashes) + np.maximum(left, right))
    pairs = np.unique(np.concatenate(found))
    return pairs // len(hashes), pairs % len(hashes)


class BandSearch:
    """A search of 64-bit hashes, with one number of bands, for pairs that differ in at most ``distance`` bits."""

    def __init__(self, hashes: np.ndarray, distance: int, bands: int) -> None:
        self._hashes, self._distance = hashes, distance
        each, more = divmod(max(distance - bands + 1, 0), bands)
        edges = np.linspace(0, _BITS, bands + 1).astype(int).tolist()
        self._bands = [
            (low, high, _values_with(high - low, each + (band < more)))
            for band, (low, high) in enumerate(pairwise(edges))
        ]

    def cost(self) -> float:
        """Expected time, in comparisons."""
        if sum(len(flips) for _, _, flips in self._bands) > _MAX_FLIPS:
            return inf
        return sum(self._cost_of(*band) for band in self._bands)

    def _cost_of(self, low: int, high: int, flips: np.ndarray) -> float:
        counts = np.bincount(self._keys(low, high), minlength=1 << (high - low)).astype(float)
        is_there = (counts > 0).astype(float)
        values = np.arange(len(counts))
        return sum(
            (counts @ counts[values ^ flip] + _BLOCK_COST * (is_there @ is_there[values ^ flip])) / 2 for flip in flips
        )

    def _keys(self, low: int, high: int) -> np.ndarray:
        return ((self._hashes >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)).astype(np.int64)

    def pairs(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The pairs, as numbers of hashes; one may come several times, and either way round."""
        for low, high, flips in self._bands:
            keys = self._keys(low, high)
            order = np.argsort(keys, kind="stable")
            hashes = self._hashes[order]
            values, starts = np.unique(keys[order], return_index=True)
            ranges = dict(zip(values.tolist(), zip(starts.tolist(), [*starts[1:].tolist(), len(keys)])))
            for flip in flips.tolist():
                for value, rows in ranges.items():
                    if value <= value ^ flip and (columns := ranges.get(value ^ flip)):
                        for left, right in self._compare(hashes, rows, columns):
                            yield order[left], order[right]

    def _compare(
        self, hashes: np.ndarray, rows: tuple[int, int], columns: tuple[int, int]
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Places of the near pairs between two ranges of hashes, or, if they are one, within it."""
        others = hashes[slice(*columns)]
        step = max(1, _BLOCK // len(others))
        for start in range(*rows, step):
            near = np.bitwise_count(hashes[start : min(start + step, rows[1]), None] ^ others) <= self._distance
            if rows == columns:
                near = np.triu(near, start - columns[0] + 1)
            if near.any():
                left, right = np.nonzero(near)
                yield start + left, columns[0] + right


def _values_with(width: int, bits: int) -> np.ndarray:
    """All numbers of ``width`` bits of which at most ``bits`` are 1."""
    values = np.arange(1 << width)
    return values[np.bitwise_count(values) <= bits]
