"""Facts of a chat scorer: each field of its answers is a score, or a text, with an identity."""

from __future__ import annotations

from imagemill.data.config.judging.chat import ChatScorer
from imagemill.data.scores.records import ScorerFacts

UNKNOWN = "unknown"
"""Licence of a model behind an API, which reports none."""


def chat_facts(asker: str, section: ChatScorer) -> dict[str, ScorerFacts]:
    """Score, or column of texts -> its facts, by the fields of the scorer's answers. ``asker``: its name."""
    facts = (
        ScorerFacts(
            name=f"{asker}_{name}",
            kind=section.kind,
            # All that decides an answer, but for the row's values and images.
            identity={"kind": section.kind, **section.identity(), "field": name},
            reads=section.reads,
            model=section.model,
            revision=section.revision,
            licence=UNKNOWN,
            question=section.ask,
            asker=asker,
            is_text=not field.is_number,
            is_of_edits=section.is_of_edits,
        )
        for name, field in section.answer_fields.items()
    )
    return {each.name: each for each in facts}
