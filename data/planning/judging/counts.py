"""Counts of what became of a row's candidates."""

from __future__ import annotations

from dataclasses import replace

from imagemill.data.planning.judging.judge import Verdict
from imagemill.data.scores.funnel import Funnel


def funnel_of(verdict: Verdict) -> Funnel:
    """The funnel of one prompts-file row: of its choices at every step, and of its rows in the end."""
    choices = (Funnel.of_choice(rule, choice) for rule, choice in verdict.replay.choices)
    kept = sum(leaf.rejected_at is None for leaf in verdict.leaves)
    return replace(sum(choices, Funnel()), kept=kept, rejected=len(verdict.leaves) - kept)
