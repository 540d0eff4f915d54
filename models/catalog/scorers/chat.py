"""Specification of one field of a chat scorer's answers. Its model is a server's: a name is all that is known of it.

Imports neither torch nor httpx.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imagemill.data.config.judging.chat import ChatScorer
from imagemill.data.scores.chat_facts import UNKNOWN, chat_facts
from imagemill.data.scores.records import Reads, ScorerFacts
from imagemill.models.catalog.api_key import check_key
from imagemill.models.catalog.source import ModelSource


@dataclass(frozen=True, slots=True)
class ChatScorerSpec:
    """A chat scorer, and the field of its answers that is one score, or one text. Has no key."""

    asker: str
    """The scorer's name in the recipe."""
    field: str
    section: ChatScorer
    kind: str = "chat"
    licence: str = UNKNOWN
    keeps_vector: bool = False

    @property
    def name(self) -> str:
        """Name of the score, or of the column of texts."""
        return f"{self.asker}_{self.field}"

    @property
    def reads(self) -> frozenset[Reads]:
        """Inputs beside the image."""
        return self.section.reads

    @property
    def sources(self) -> tuple[ModelSource, ...]:
        """None: nothing is loaded here."""
        return ()

    @property
    def identity(self) -> Mapping[str, Any]:
        """All that decides its scores, but for the row's values and images."""
        return self.facts().identity

    def facts(self) -> ScorerFacts:
        """Facts for planning and the ledger."""
        return chat_facts(self.asker, self.section)[self.name]


def resolve_chat(name: str, section: ChatScorer) -> dict[str, ChatScorerSpec]:
    """Score, or column of texts -> its specification. Raises RecipeError if a key would go where it may not."""
    check_key(f"recipe.scorers.{name}.api", section.api)
    specs = [ChatScorerSpec(name, field, section) for field in section.answer_fields]
    return {spec.name: spec for spec in specs}
