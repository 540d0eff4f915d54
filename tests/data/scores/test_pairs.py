"""Preference pairs are the widest differences of one row, and the side says nothing."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from imagemill.data.config.judging.pairs import Pairs
from imagemill.data.scores.pairs import PairCandidate, make_pairs


def candidates(*scores: float | None, failing: tuple[int, ...] = (), groups: str = "") -> list[PairCandidate]:
    return [
        PairCandidate(f"{number:032x}", number, score, number not in failing, group=groups[number : number + 1])
        for number, score in enumerate(scores)
    ]


def numbers(found) -> list[tuple[int, int]]:
    return [(better.number, worse.number) for better, worse, _ in found]


def test_the_widest_difference_makes_the_pair() -> None:
    assert numbers(make_pairs(candidates(0.5, 0.2, 0.9, 0.6), Pairs(by="looks"))) == [(2, 1)]


def test_several_pairs_come_widest_first_and_ties_by_number() -> None:
    found = make_pairs(candidates(1.0, 0.0, 1.0, 0.5), Pairs(by="looks", most=5))
    assert numbers(found) == [(0, 1), (2, 1), (0, 3), (2, 3), (3, 1)]


def test_a_difference_of_the_margin_is_enough_after_rounding() -> None:
    assert numbers(make_pairs(candidates(0.5, 0.2), Pairs(by="looks", margin=0.3))) == [(0, 1)]
    assert make_pairs(candidates(0.5, 0.2001), Pairs(by="looks", margin=0.3)) == []


def test_equal_scores_and_missing_ones_make_no_pair() -> None:
    assert make_pairs(candidates(0.5, 0.50001, None), Pairs(by="looks", most=9)) == []
    assert make_pairs([], Pairs(by="looks")) == make_pairs(candidates(1.0), Pairs(by="looks")) == []


def test_what_did_not_pass_makes_pairs_only_with_where_any() -> None:
    row = candidates(0.9, 0.1, 0.5, failing=(1,))
    assert numbers(make_pairs(row, Pairs(by="looks"))) == [(0, 2)]
    assert numbers(make_pairs(row, Pairs(by="looks", where="any"))) == [(0, 1)]


def test_only_images_of_one_source_and_instruction_make_pairs() -> None:
    found = make_pairs(candidates(0.9, 0.1, 0.5, 0.2, groups="abba"), Pairs(by="looks", most=9))
    assert numbers(found) == [(0, 3), (2, 1)]


def test_the_side_follows_from_both_keys_whichever_is_better() -> None:
    row = candidates(0.9, 0.1)
    (first,), (second,) = make_pairs(row, Pairs(by="x")), make_pairs(candidates(0.1, 0.9), Pairs(by="x"))
    assert [one.number for one in first.sides] == [one.number for one in second.sides]
    assert first.label_0 != second.label_0
    assert first.sides[0 if first.label_0 else 1] is first.better


def test_the_better_image_is_as_often_on_either_side() -> None:
    labels = []
    for number in range(400):
        row = [PairCandidate(f"{number}-{side}", side, float(side), True) for side in (0, 1)]
        labels.append(make_pairs(row, Pairs(by="x"))[0].label_0)
    assert 150 < sum(labels) < 250


def test_pairs_are_those_of_a_sort_of_all_pairs() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        row = candidates(*(random.integers(0, 6, random.integers(0, 9)) / 5).tolist(), groups="ababbabab")
        most, margin = int(random.integers(1, 12)), float(random.integers(0, 3) / 5)
        ordered = [
            (round(high.score - low.score, 4), high.number, low.number)
            for first, second in combinations(row, 2)
            for high, low in [sorted((first, second), key=lambda one: -one.score)]
            if first.group == second.group and high.score > low.score
        ]
        ordered.sort(key=lambda pair: (-pair[0], *pair[1:]))
        expected = [(high, low) for difference, high, low in ordered if difference >= margin][:most]
        assert numbers(make_pairs(row, Pairs(by="x", most=most, margin=margin))) == expected
