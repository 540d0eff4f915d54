"""Counts of what language models are not asked yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

from imagemill.data.config.words.llm import LlmStep


@dataclass
class Unasked:
    """Counts of questions that are not asked yet."""

    rows: int = 0
    """Rows that lack words, before any template or sweep."""
    questions: Counter[str] = field(default_factory=Counter)
    """Asker -> its questions without an answer, those included that ask about another's answer."""
    reasons: dict[str, None] = field(default_factory=dict)

    def add(self, steps: Sequence[LlmStep], first: int, reason: str) -> None:
        """Count a copy that has no answer from the step ``first`` on."""
        counts = [step.count or 1 for step in steps]
        # Of its first step, each of several copies is counted by itself.
        for number in range(first, len(steps)):
            self.questions[asker_of(number)] += prod(counts[first + 1 : number + 1])
        self.rows += prod(counts[first + 1 :])
        self.reasons[reason] = None


def asker_of(number: int) -> str:
    """The place of a step in the recipe."""
    return f"llm.{number}"
