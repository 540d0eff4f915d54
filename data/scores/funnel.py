"""Funnel of a build: how many candidates there were, and where they went. And histograms, as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np

from imagemill.data.config.judging.select import Rule
from imagemill.data.scores.records import DECIMALS, rounded
from imagemill.data.scores.selection import NO_SCORE, NOT_BEST, SURPLUS, Choice

DUPLICATE = "duplicate"
"""Why a kept image is in rejected/ all the same: an earlier one looks like it."""

_BAR = 40
"""Characters of the longest bar."""


@dataclass(frozen=True, slots=True)
class Funnel:
    """Counts of candidates and rows; the sum of two is that of both parts of a dataset."""

    candidates: int = 0
    """Candidates whose image exists."""
    kept: int = 0
    rejected: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    """Scorer -> candidates outside its bounds, or ``no score``."""
    not_best: int = 0
    surplus: int = 0
    duplicates: int = 0
    short: int = 0
    """Rows that keep fewer images than they should, though some."""
    none_passed: int = 0
    """Rows of which no candidate passed."""
    scored: int = 0
    """Scores that were computed."""
    asked: int = 0
    """Requests to chat models."""

    def __add__(self, other: Funnel) -> Funnel:
        sums: dict[str, Any] = {
            one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self) if one.name != "failed"
        }
        names = dict.fromkeys([*self.failed, *other.failed])
        return Funnel(failed={name: self.failed.get(name, 0) + other.failed.get(name, 0) for name in names}, **sums)

    @classmethod
    def of_choice(cls, rule: Rule, choice: Choice) -> Funnel:
        """The counts of one row and one step."""
        reasons = list(choice.rejected.values())
        others = (NOT_BEST, SURPLUS, DUPLICATE)
        failed = {reason: reasons.count(reason) for reason in dict.fromkeys(reasons) if reason not in others}
        kept = len(choice.kept)
        return cls(
            candidates=kept + len(reasons),
            kept=kept,
            rejected=len(reasons),
            failed=failed,
            not_best=reasons.count(NOT_BEST),
            surplus=reasons.count(SURPLUS),
            short=int(0 < kept < rule.keep),
            none_passed=int(kept == 0 and bool(reasons)),
        )

    def with_duplicates(self, duplicates: int) -> Funnel:
        """The counts after this number of kept images were found to be duplicates."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        values["kept"] -= duplicates
        values["rejected"] += duplicates
        values["duplicates"] += duplicates
        return Funnel(**values)

    @classmethod
    def of_figures(cls, figures: Mapping[str, Any]) -> Funnel:
        """The funnel in the figures of a run."""
        return cls(**{one.name: figures[one.name] for one in fields(cls)})

    def to_json(self) -> dict[str, Any]:
        """The figures of a run, by the names of the fields."""
        return {one.name: getattr(self, one.name) for one in fields(self)} | {"failed": dict(self.failed)}

    def losses(self) -> list[tuple[str, int]]:
        """(reason, candidates that it takes) from top to bottom; what is left is kept. Reasons of none are left out."""
        counts = [(f"outside {name}" if name != NO_SCORE else name, count) for name, count in self.failed.items()]
        counts += [("not best", self.not_best), ("surplus", self.surplus), ("duplicates", self.duplicates)]
        # In a chain, images that were chosen and went on to the next step are candidates too, but no rows.
        onward = self.candidates - sum(count for _, count in counts) - self.kept
        return [(name, count) for name, count in [*counts, ("edited further", onward)] if count > 0]

    def lines(self) -> list[str]:
        """The funnel in words, a line each; figures that are 0 are left out."""
        shown = [("candidates", self.candidates), *self.losses(), ("kept", self.kept)]
        width = max(len(name) for name, _ in shown)
        return [f"{name:<{width}}  {count:>12,}" for name, count in shown]


def bins_of(scores: Sequence[float | None], bins: int = 20) -> list[tuple[float, int]]:
    """(lower end, number of scores) of the bins of a histogram; nulls are in none."""
    values = np.array([score for score in scores if score is not None], float)
    if not len(values):
        return []
    counts, edges = np.histogram(values, bins=min(bins, max(1, len(np.unique(values)))))
    return list(zip(edges[:-1].tolist(), counts.tolist(), strict=True))


def histogram(scores: Sequence[float | None], bins: int = 20) -> list[str]:
    """Bars of a scorer's scores, a line each: lower end, number, bar. Null scores have a line apart."""
    found = bins_of(scores, bins)
    most = max((count for _, count in found), default=0)
    lines = []
    for edge, count in found:
        bar = "#" * max(round(_BAR * count / most), int(count > 0))
        lines.append(f"{edge:>12.{DECIMALS}f}  {count:>10,}  {bar}".rstrip())
    nulls = sum(score is None for score in scores)
    return lines + ([f"{'no score':>12}  {nulls:>10,}"] if nulls else [])


def bound_that_keeps(
    best_of_rows: Sequence[float | None], end: Literal["min", "max"], share: float = 0.5
) -> float | None:
    """The bound with which at least ``share`` of the rows have a candidate that passes; None where no row has a score.

    ``best_of_rows``: of each row the highest score for a ``min``, the lowest for a ``max``. Where fewer rows than that
    have a score, it lets all of these pass.
    """
    values = np.sort([rounded(score) for score in best_of_rows if score is not None])
    if not len(values):
        return None
    needed = min(len(values), max(1, int(np.ceil(share * len(best_of_rows)))))
    return float(values[-needed] if end == "min" else values[needed - 1])
