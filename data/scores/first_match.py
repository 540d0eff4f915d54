"""Search for the first match: each row, in order, stays, or is a duplicate of the first row before it that stays."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

_ROWS = 256
_COLUMNS = 2048
"""Rows that are compared at a time, with as many rows that stay: 4 MB of distances, which stay in a core's cache."""


def group_numbers(inputs: Sequence[str | None] | None, rows: int) -> np.ndarray:
    """A number for each input, int64: equal for equal inputs, and another for each row without one."""
    if inputs is None:
        return np.arange(-rows, 0)
    numbers: dict[str, int] = {}
    return np.array(
        [-1 - row if value is None else numbers.setdefault(value, len(numbers)) for row, value in enumerate(inputs)],
        np.int64,
    )


def match_blocks(
    values: np.ndarray, groups: np.ndarray, is_near: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """For each row the row that it duplicates, or -1, by comparing it with all that stay.

    ``is_near(a, b)``: for rows a and b of ``values`` a boolean matrix, which of them are near each other. Rows of one
    group never match. Time grows with the square of the number of rows, memory only with their number.
    """
    matches = np.full(len(values), -1, np.int64)
    staying, rows, staying_groups = np.empty_like(values), np.empty(len(values), np.int64), np.empty_like(groups)
    count = 0
    for start in range(0, len(values), _ROWS):
        block, own = values[start : start + _ROWS], groups[start : start + _ROWS]
        unmatched = np.arange(len(block))
        for first in range(0, count, _COLUMNS):
            columns = slice(first, min(first + _COLUMNS, count))
            near = is_near(block[unmatched], staying[columns])
            if near.any():
                near &= own[unmatched, None] != staying_groups[None, columns]
                found = near.any(axis=1)
                matches[start + unmatched[found]] = rows[first + near[found].argmax(axis=1)]
                unmatched = unmatched[~found]
        near = is_near(block[unmatched], block[unmatched]) & (own[unmatched, None] != own[None, unmatched])
        stays = _match_within(near, matches, start + unmatched)
        kept = unmatched[stays]
        added = slice(count, count + len(kept))
        staying[added], rows[added], staying_groups[added] = block[kept], start + kept, own[kept]
        count += len(kept)
    return matches


def _match_within(near: np.ndarray, matches: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Match the rows of one block among themselves; returns which of them stay."""
    stays = np.ones(len(near), bool)
    for row in np.flatnonzero(np.tril(near, -1).any(axis=1)):
        before = near[row, :row] & stays[:row]
        if before.any():
            stays[row] = False
            matches[rows[row]] = rows[before.argmax()]
    return stays


def match_pairs(count: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """For each of ``count`` rows the row that it duplicates, or -1, from all pairs that are near each other.

    ``first`` and ``second``: numbers of rows, the first the lower.
    """
    matches = np.full(count, -1, np.int64)
    order = np.lexsort((first, second))
    duplicates: dict[int, int] = {}
    for early, late in zip(first[order].tolist(), second[order].tolist()):
        if late not in duplicates and early not in duplicates:
            duplicates[late] = early
    matches[list(duplicates)] = list(duplicates.values())
    return matches
