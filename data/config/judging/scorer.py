"""Base of the recipe's sections for scorers."""

from __future__ import annotations

from typing import ClassVar, Literal

from imagemill.data.config.fields import Section

Reads = Literal["text", "source", "before", "mask"]
"""Inputs of a scorer beside the image: its text, an edit's input, the text of that input, an edit's mask."""

SCORE_DECIMALS = 4
"""Scores are rounded to this many decimals, and compared as such."""


class ScorerSection(Section):
    """Base of all scorers."""

    embeds: ClassVar[bool] = False
    """True if it makes an embedding of an image, by which near-duplicates can be found."""

    @property
    def reads(self) -> frozenset[Reads]:
        """Inputs beside the image."""
        return frozenset()

    def scores(self, name: str) -> tuple[str, ...]:
        """Names of its scores, where the recipe calls it ``name``."""
        return (name,)
