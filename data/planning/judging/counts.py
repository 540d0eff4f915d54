"""Counts of what became of a row's candidates."""

from __future__ import annotations

from imagemill.data.planning.judging.judge import Verdict
from imagemill.data.scores.funnel import Funnel


def funnel_of(verdict: Verdict) -> Funnel:
    """The funnel of one prompts-file row."""
    return Funnel(candidates=len(verdict.leaves))
