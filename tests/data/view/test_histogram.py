"""Tests of histograms: every value is in a bin, and a threshold is a number that is easy to say."""

from __future__ import annotations

import numpy as np
import pytest

from imagemill.data.view.histogram import MAX_BINS, Groups, make_histogram

RANGES = [(0.0, 1.0), (0.2134, 0.2136), (-3.5, 7.25), (0.0, 1e-4), (1e6, 2.5e6), (0, 2**64), (-0.0001, 0.0)]


@pytest.mark.parametrize(("low", "high"), RANGES)
def test_every_value_is_in_a_bin_and_each_edge_counts_as_a_comparison_does(low: float, high: float) -> None:
    values = np.random.default_rng(3).uniform(low, high, 3000)
    values[:2] = low, high
    ids = np.arange(3000) // 3
    histogram = make_histogram("x", values, Groups.of(ids))
    assert histogram is not None
    rounded = np.round(values, 4)

    assert sum(histogram.counts) == 3000
    assert histogram.edges[0] <= rounded.min() <= rounded.max() <= histogram.edges[-1]
    assert len(histogram.counts) <= MAX_BINS + 1
    for number, edge in enumerate(histogram.edges):
        assert histogram.at_least[number] == (rounded >= edge).sum()
        assert histogram.at_most[number] == (rounded <= edge).sum()
        assert histogram.rows_at_least[number] == len(set(ids[rounded >= edge]))
        assert histogram.rows_at_most[number] == len(set(ids[rounded <= edge]))


def test_thresholds_are_easy_to_say() -> None:
    histogram = make_histogram("x", np.linspace(0.113, 0.871, 500), Groups.of(np.arange(500)))
    assert histogram is not None
    assert histogram.edges[:3] == (0.11, 0.12, 0.13)


def test_one_value_is_one_bin_and_none_is_no_histogram() -> None:
    same = make_histogram("x", np.array([0.5, np.nan, 0.5, np.inf]), Groups.of(np.array([1, 1, 2, 3])))
    assert same is not None
    assert (same.edges, same.counts, same.without, same.rows) == ((0.5,), (2,), 2, 2)
    assert make_histogram("x", np.array([np.nan]), Groups.of(np.array([1]))) is None
    assert make_histogram("x", np.array([]), Groups.of(np.array([]))) is None
