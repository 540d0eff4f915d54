"""Histogram of a column of numbers, and how many images and rows stay for each threshold."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from imagemill.data.view.columns import Array

MAX_BINS = 100

DECIMALS = 4
"""Scores are compared as rounded to these."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of one column. A threshold is one of ``edges``."""

    column: str
    images: int
    """Images that have a value."""
    without: int
    """Images that have none."""
    rows: int
    """Rows of the prompts file that an image with a value belongs to."""
    edges: tuple[float, ...]
    """Ascending; one more than there are bins."""
    counts: tuple[int, ...]
    """Images in each bin."""
    at_least: tuple[int, ...]
    """Images whose value is at least the edge, for each edge."""
    at_most: tuple[int, ...]
    rows_at_least: tuple[int, ...]
    """Rows of which an image's value is at least the edge, for each edge."""
    rows_at_most: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Groups:
    """Images grouped by row of the prompts file."""

    order: Array
    """The images' numbers, those of a row next to each other."""
    begins: Array
    """Place in ``order`` of each row's first image."""

    @classmethod
    def of(cls, ids: Array) -> Groups:
        """The groups of images with these ids."""
        order = np.argsort(ids, kind="stable").astype(np.uint32)
        ordered = ids[order]
        return cls(order, np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if ids.size else np.empty(0, int))


def make_histogram(column: str, values: Array, groups: Groups) -> Histogram | None:
    """The histogram of ``values`` (NaN for none); None where no image has one."""
    rounded = np.round(values.astype(np.float64), DECIMALS)
    rounded[~np.isfinite(rounded)] = np.nan
    found = np.sort(rounded)
    found = found[: found.size - np.count_nonzero(np.isnan(found))]
    if not found.size:
        return None
    by_row = rounded[groups.order]
    largest = _sorted_numbers(np.fmax.reduceat(by_row, groups.begins))
    smallest = _sorted_numbers(np.fmin.reduceat(by_row, groups.begins))
    edges = _edges(found[0], found[-1])
    # The last bin has its upper edge too.
    counts = np.histogram(found, edges)[0] if len(edges) > 1 else np.array([found.size])
    return Histogram(
        column=column,
        images=int(found.size),
        without=int(values.size - found.size),
        rows=int(largest.size),
        edges=tuple(edges.tolist()),
        counts=tuple(counts.tolist()),
        at_least=_at_least(found, edges),
        at_most=_at_most(found, edges),
        rows_at_least=_at_least(largest, edges),
        rows_at_most=_at_most(smallest, edges),
    )


def _sorted_numbers(values: Array) -> Array:
    return np.sort(values[~np.isnan(values)])


def _edges(low: float, high: float) -> Array:
    """Multiples of 1, 2 or 5 times a power of ten, so that a threshold is a number that is easy to say."""
    if low == high:
        return np.array([low])
    power = 10.0 ** math.floor(math.log10((high - low) / MAX_BINS))
    step = next(step for step in (power, 2 * power, 5 * power, 10 * power) if (high - low) / step <= MAX_BINS)
    step = max(step, 10.0**-DECIMALS)
    return np.unique(np.round(np.arange(math.floor(low / step), math.ceil(high / step) + 1) * step, DECIMALS))


def _at_least(ascending: Array, edges: Array) -> tuple[int, ...]:
    return tuple((len(ascending) - np.searchsorted(ascending, edges, "left")).tolist())


def _at_most(ascending: Array, edges: Array) -> tuple[int, ...]:
    return tuple(np.searchsorted(ascending, edges, "right").tolist())
