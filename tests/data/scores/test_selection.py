"""A choice among a row's candidates follows from the rule and the scores alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from imagemill.data.config.judging.select import Bounds, Rule
from imagemill.data.scores.selection import NO_SCORE, NOT_BEST, SURPLUS, Candidate, Choice, choose


def rule(of: int = 4, keep: int = 1, best: str | None = None, draw: str = "all", **where: dict[str, float]) -> Rule:
    return Rule(of, keep, {name: Bounds(**bounds) for name, bounds in where.items()}, best, draw)


def known(**scores: list[Any]) -> dict[int, Candidate]:
    """Candidates 0, 1, ... from each scorer's scores in order."""
    columns = dict(zip(range(len(next(iter(scores.values())))), zip(*scores.values())))
    return {number: Candidate(number, dict(zip(scores, values))) for number, values in columns.items()}


def test_the_highest_of_those_that_pass_is_kept_and_the_others_say_why_not() -> None:
    candidates = known(fits=[0.2, 0.3, 0.4, 0.5], looks=[9.0, 5.0, 6.0, 4.0])
    choice = choose(rule(best="looks", fits={"min": 0.24}), candidates)
    assert choice == Choice((2,), {0: "fits", 1: NOT_BEST, 3: NOT_BEST}, (), (1, 2, 3))


def test_several_are_kept_in_the_order_of_their_rank() -> None:
    assert choose(rule(keep=3, best="looks"), known(looks=[1.0, 3.0, 2.0, 0.0])).kept == (1, 2, 0)


def test_without_a_ranking_the_first_that_pass_are_kept_by_number() -> None:
    choice = choose(rule(keep=2, fits={"min": 0.5}), known(fits=[0.4, 0.9, 0.6, 0.7]))
    assert (choice.kept, choice.rejected) == ((1, 2), {0: "fits", 3: SURPLUS})


def test_a_tie_goes_to_the_lower_candidate() -> None:
    assert choose(rule(best="looks"), known(looks=[1.0, 5.00001, 5.00004, 5.0])).kept == (1,)


def test_a_score_on_the_bound_passes_after_rounding() -> None:
    choice = choose(rule(of=3, keep=3, fits={"min": 0.24, "max": 0.3}), known(fits=[0.23996, 0.23994, 0.30004]))
    assert choice.kept == (0, 2)


def test_a_float32_score_on_the_bound_passes() -> None:
    assert choose(rule(of=1, fits={"min": 0.24}), known(fits=[float(np.float32(0.24))])).kept == (0,)


def test_the_first_bound_that_fails_is_the_reason() -> None:
    candidates = known(nsfw=[0.9], fits=[0.1])
    assert choose(rule(of=1, fits={"min": 0.2}, nsfw={"max": 0.5}), candidates).rejected == {0: "fits"}
    assert choose(rule(of=1, nsfw={"max": 0.5}, fits={"min": 0.2}), candidates).rejected == {0: "nsfw"}


@pytest.mark.parametrize("needed", [{"fits": {"min": 0.0}}, {"best": "fits"}])
def test_a_candidate_without_a_score_that_the_rule_needs_is_rejected(needed: dict[str, Any]) -> None:
    choice = choose(rule(of=2, **needed), known(fits=[None, 0.5]))
    assert (choice.kept, choice.rejected, choice.passed) == ((1,), {0: NO_SCORE}, (1,))


def test_a_bound_that_fails_decides_before_a_score_that_is_missing() -> None:
    candidates = {0: Candidate(0, {"fits": 0.1}), 1: Candidate(1, {"fits": 0.1, "judge": None})}
    choice = choose(rule(of=2, judge={"min": 3}, fits={"min": 0.2}), candidates)
    assert (choice.rejected, choice.wanted) == ({0: "fits", 1: "fits"}, ())


def test_all_unknown_candidates_are_wanted() -> None:
    choice = choose(rule(fits={"min": 0.2}), {1: Candidate(1, {"fits": 0.3})})
    assert (choice.kept, choice.wanted, choice.is_final) == ((1,), (0, 2, 3), False)


def test_a_candidate_that_a_scorer_has_not_looked_at_is_wanted() -> None:
    assert choose(rule(of=1, best="looks"), {0: Candidate(0, {"fits": 0.3})}).wanted == (0,)


def test_until_enough_wants_the_next_number_alone() -> None:
    until = rule(keep=2, draw="until_enough", fits={"min": 0.5})
    assert choose(until, {}).wanted == (0,)
    assert choose(until, known(fits=[0.9, 0.1])).wanted == (2,)
    choice = choose(until, known(fits=[0.9, 0.1, 0.8]))
    assert (choice.kept, choice.rejected, choice.wanted) == ((0, 2), {1: "fits"}, ())


def test_until_enough_ignores_later_candidates_once_enough_pass() -> None:
    candidates = {0: Candidate(0, {"fits": 0.9}), 2: Candidate(2, {"fits": 0.1}), 3: Candidate(3, {})}
    choice = choose(rule(draw="until_enough", fits={"min": 0.5}), candidates)
    assert choice == Choice((0,), {2: SURPLUS, 3: SURPLUS}, (), (0,))


def test_a_row_that_never_has_enough_keeps_what_it_has() -> None:
    choice = choose(rule(keep=2, draw="until_enough", fits={"min": 0.5}), known(fits=[0.1, 0.9, 0.2, 0.3]))
    assert (choice.kept, choice.is_final) == ((1,), True)


def test_candidates_beyond_a_lowered_number_are_surplus_whatever_their_scores() -> None:
    candidates = known(looks=[1.0, 2.0, 9.0, None])
    assert choose(rule(of=2, best="looks"), candidates).rejected == {0: NOT_BEST, 2: SURPLUS, 3: SURPLUS}


def test_a_failed_candidate_is_one_less_and_neither_kept_nor_rejected() -> None:
    candidates = {**known(looks=[1.0, 2.0]), 2: Candidate(2, {}, failed=True), 5: Candidate(5, {}, failed=True)}
    choice = choose(rule(of=3, best="looks"), candidates)
    assert choice == Choice((1,), {0: NOT_BEST}, (), (0, 1))


def test_a_rule_without_select_keeps_every_candidate() -> None:
    candidates = {number: Candidate(number, {}) for number in range(3)}
    assert choose(rule(of=3, keep=3), candidates) == Choice((0, 1, 2), {}, (), (0, 1, 2))


def test_choices_agree_with_a_sort_over_random_scores() -> None:
    random = np.random.default_rng(0)
    for _ in range(500):
        of, keep = sorted(random.integers(1, 9, 2))[::-1]
        fits, looks = random.integers(0, 5, of) / 4, random.integers(0, 5, of) / 4
        candidates = known(fits=fits.tolist(), looks=looks.tolist())
        choice = choose(rule(of, keep, best="looks", fits={"min": 0.5}), candidates)
        order = np.lexsort((np.arange(of), -looks))
        assert choice.kept == tuple(order[fits[order] >= 0.5][:keep])
        assert sorted([*choice.kept, *choice.rejected]) == list(range(of))
        first = tuple(np.flatnonzero(fits >= 0.5)[:keep])
        for draw in ("all", "until_enough"):
            assert choose(rule(of, keep, draw=draw, fits={"min": 0.5}), candidates).kept == first


def test_playing_rounds_until_enough_ends_with_the_choice_over_all_candidates() -> None:
    random = np.random.default_rng(1)
    for _ in range(200):
        scores = (random.integers(0, 5, 6) / 4).tolist()
        everything = known(fits=scores)
        until, seen = rule(6, 2, draw="until_enough", fits={"min": 0.5}), {}
        while wanted := choose(until, seen).wanted:
            seen |= {number: everything[number] for number in wanted}
        assert choose(until, seen).kept == choose(rule(6, 2, fits={"min": 0.5}), everything).kept
