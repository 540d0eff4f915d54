"""The funnel counts every candidate once, and says what another bound would keep."""

from __future__ import annotations

from imagemill.data.config.judging.select import Bounds, Rule
from imagemill.data.scores.funnel import Funnel, bound_that_keeps, histogram
from imagemill.data.scores.selection import Candidate, choose


def funnel(*fits: float | None, keep: int = 1, best: str | None = "fits") -> Funnel:
    rule = Rule(len(fits), keep, {"fits": Bounds(min=0.5)}, best, "all")
    return Funnel.of_choice(rule, choose(rule, {n: Candidate(n, {"fits": score}) for n, score in enumerate(fits)}))


def test_every_candidate_is_kept_or_has_one_reason() -> None:
    counts = funnel(0.9, 0.8, 0.1, None)
    assert counts == Funnel(4, 1, 3, {"fits": 1, "no score": 1}, not_best=1)
    assert counts.candidates == counts.kept + counts.rejected


def test_rows_with_too_few_and_rows_with_none_are_counted() -> None:
    assert (funnel(0.9, 0.1, keep=2).short, funnel(0.9, 0.1, keep=2).none_passed) == (1, 0)
    assert (funnel(0.1, 0.2).short, funnel(0.1, 0.2).none_passed) == (0, 1)
    assert (funnel(0.9, 0.8).short, funnel(0.9, 0.8).none_passed) == (0, 0)


def test_a_candidate_that_failed_is_not_counted() -> None:
    rule = Rule(2, 1, {}, None, "all")
    choice = choose(rule, {0: Candidate(0, {}, failed=True), 1: Candidate(1, {})})
    assert Funnel.of_choice(rule, choice) == Funnel(candidates=1, kept=1)


def test_the_sum_of_two_parts_is_the_whole() -> None:
    whole = sum([funnel(0.9, 0.1), funnel(0.9, 0.8, best=None), Funnel(scored=4, asked=2)], Funnel())
    assert whole == Funnel(4, 2, 2, {"fits": 1}, surplus=1, scored=4, asked=2)
    assert whole.to_json()["failed"] == {"fits": 1}


def test_duplicates_move_from_kept_to_rejected() -> None:
    assert Funnel(5, 4, 1).with_duplicates(3) == Funnel(5, 1, 4, duplicates=3)


def test_the_funnel_reads_from_top_to_bottom() -> None:
    assert [line.split("  ")[0] for line in funnel(0.9, 0.8, 0.1, None).lines()] == [
        "candidates",
        "outside fits",
        "no score",
        "not best",
        "kept",
    ]


def test_the_bars_of_a_histogram_count_every_score() -> None:
    lines = histogram([0.0, 0.05, 0.1, 1.0, None, None], bins=4)
    assert [int(line.split()[1]) for line in lines[:-1]] == [3, 0, 0, 1]
    assert lines[0].count("#") == 40 > lines[3].count("#") > 0
    assert lines[-1].split() == ["no", "score", "2"]


def test_a_histogram_of_nothing_or_of_one_value_has_a_line_at_most() -> None:
    assert histogram([]) == []
    assert [line.split()[1] for line in histogram([0.5, 0.5])] == ["2"]


def test_the_bound_that_keeps_half_lets_half_of_the_rows_pass() -> None:
    scores = [0.1, 0.4, None, 0.3, 0.2, 0.5]
    assert bound_that_keeps(scores, "min") == 0.3
    assert bound_that_keeps(scores, "max") == 0.3
    assert bound_that_keeps([0.1, None, None, None], "min") == 0.1
    assert bound_that_keeps([None], "min") is bound_that_keeps([], "max") is None
