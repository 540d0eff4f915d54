"""Selection among the candidates of one row: which are kept, which are rejected and why, which are needed yet.

A choice is a function of the rule and the scores alone, so it is replayed and never stored as truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from imagemill.data.config.judging.select import Bounds, Rule
from imagemill.data.scores.records import rounded

NOT_BEST = "not best"
"""It passed, and others have a higher score."""

SURPLUS = "surplus"
"""There are enough without it: candidates with lower numbers pass, or the rule asks for fewer."""

NO_SCORE = "no score"
"""A scorer that the rule names has no score for it."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One candidate of a row."""

    number: int
    """0 to ``of`` - 1; decides its seed."""
    scores: Mapping[str, float | None]
    """Scorer -> score, None where the scorer has none for it; a scorer that has not looked yet is missing."""
    failed: bool = False
    """True if it could not be generated, or not be scored."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Result of a rule for the known candidates. Provisional as long as any number is ``wanted``."""

    kept: tuple[int, ...]
    """Best first, or by number where the rule does not rank."""
    rejected: Mapping[int, str]
    """Number -> a scorer whose bounds it fails, or NOT_BEST, SURPLUS or NO_SCORE. Failed candidates are not here."""
    wanted: tuple[int, ...]
    """Numbers that must be generated or scored before the choice is final, ascending."""
    passed: tuple[int, ...]
    """Numbers that pass the bounds and have a rank, kept or not, ascending."""

    @property
    def is_final(self) -> bool:
        """True if no further candidate or score can change it."""
        return not self.wanted


def choose(rule: Rule, known: Mapping[int, Candidate]) -> Choice:
    """Choose among the candidates of one row.

    ``known``: number -> candidate; numbers from ``rule.of`` on are surplus, whatever their scores. With ``draw: all``
    every candidate counts; with ``until_enough`` those after the one that completes the row are surplus. Scores
    compare as rounded to 4 decimals, and a tie goes to the lower number.
    """
    passed: list[int] = []
    rejected: dict[int, str] = {}
    wanted: list[int] = []
    end = rule.of
    for number in range(rule.of):
        if rule.draw == "until_enough" and wanted:
            break
        if rule.draw == "until_enough" and len(passed) == rule.keep:
            end = number
            break
        candidate = known.get(number)
        if candidate is None:
            wanted.append(number)
        elif candidate.failed:
            continue
        elif failing := _failing(rule, candidate):
            rejected[number] = failing
        elif any(name not in candidate.scores for name in _needed(rule)):
            wanted.append(number)
        elif any(candidate.scores[name] is None for name in _needed(rule)):
            rejected[number] = NO_SCORE
        else:
            passed.append(number)
    kept = _ranked(rule, known, passed)[: rule.keep]
    rejected |= dict.fromkeys(set(passed).difference(kept), NOT_BEST if rule.best else SURPLUS)
    later = (number for number, candidate in known.items() if number >= end and not candidate.failed)
    rejected |= dict.fromkeys(later, SURPLUS)
    return Choice(tuple(kept), dict(sorted(rejected.items())), tuple(wanted), tuple(passed))


def _failing(rule: Rule, candidate: Candidate) -> str | None:
    """The first scorer, in the rule's order, whose bounds the candidate fails."""
    for name, bounds in rule.where.items():
        score = candidate.scores.get(name)
        if score is not None and not is_within(bounds, score):
            return name
    return None


def _needed(rule: Rule) -> list[str]:
    return [*rule.where, *([rule.best] if rule.best else [])]


def is_within(bounds: Bounds, score: float) -> bool:
    """True if a score lies in the range, both ends included; compared with 4 decimals."""
    score = rounded(score)
    return (bounds.min is None or score >= bounds.min) and (bounds.max is None or score <= bounds.max)


def _ranked(rule: Rule, known: Mapping[int, Candidate], passed: list[int]) -> list[int]:
    if rule.best is None:
        return passed
    ranks = {number: known[number].scores[rule.best] for number in passed}
    return sorted(passed, key=lambda number: (-rounded(ranks[number] or 0.0), number))
