"""Base of the recipe's sections for scorers."""

from __future__ import annotations

from typing import ClassVar, Literal

from imagemill.data.config.fields import Section

Reads = Literal["text", "source", "before", "mask"]
"""What a scorer looks at beside the image: its text, an edit's input, the text of that input, an edit's mask."""

SCORE_DECIMALS = 4
"""Scores are rounded to this many decimals, and compared as such."""


class ScorerSection(Section):
    """What all scorers have in common."""

    embeds: ClassVar[bool] = False
    """Whether it makes an embedding of an image, by which near-duplicates can be found."""

    @property
    def reads(self) -> frozenset[Reads]:
        """What it looks at beside the image."""
        return frozenset()

    def scores(self, name: str) -> tuple[str, ...]:
        """Names of its scores, where the recipe calls it ``name``."""
        return (name,)
