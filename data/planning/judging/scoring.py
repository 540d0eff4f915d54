"""Requests of a recipe's scorers: the inputs of each for one image, and the key of its score in the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from imagemill.data.config.judging.formula import Formula
from imagemill.data.config.judging.scorers import formulas_in_order
from imagemill.data.config.recipe import Recipe
from imagemill.data.config.words.placeholders import fill_in, names_in
from imagemill.data.identity import digest
from imagemill.data.prompts.row import Row
from imagemill.data.scores.records import ScorerFacts, request_id

GENERATED_TEXT = "prompt"
"""Column of the text that an image is compared with if it is generated from a prompt, or given."""

EDITED_TEXT = "target_prompt"
"""The same if it is an edit: a description of the result."""


class Seen(NamedTuple):
    """One image as scorers see it: the hashes of its files, and the texts beside it."""

    row: Row
    sha256: str
    """Of its encoded bytes."""
    source: str | None = None
    """sha256 of the source of an edit; None for an image that is no edit."""
    instruction: str | None = None
    number: int = 0
    """Number of the instruction among the row's."""


class Scoring:
    """The scorers of one recipe."""

    def __init__(self, recipe: Recipe, facts: Mapping[str, ScorerFacts]) -> None:
        self.facts = facts
        """Name -> facts, of those that read images; formulas are computed from their scores."""
        self.formulas = formulas_in_order(recipe.scorers)
        """Name -> formula, each after those that it reads."""
        self.chat = frozenset(name for name, facts in self.facts.items() if facts.question is not None)
        """The scores and texts that a language model gives, ..."""
        self.by_chat = self.chat.union(_reading(self.formulas, self.chat))
        """... and the formulas that read one of them."""

    @property
    def names(self) -> list[str]:
        """All scorers that have a column of scores, formulas last."""
        looking = (name for name, facts in self.facts.items() if facts.kind != "phash" and not facts.is_text)
        return [*looking, *self.formulas]

    @property
    def text_names(self) -> list[str]:
        """The scorers that give texts, each a column of its name."""
        return [name for name, facts in self.facts.items() if facts.is_text]

    def looking(self, is_edit: bool) -> list[ScorerFacts]:
        """The scorers of a generated or given image, or of an edited one."""
        return [facts for facts in self.facts.values() if is_edit or not _needs_source(facts)]

    def request(self, facts: ScorerFacts, seen: Seen) -> str | None:
        """The id of a scorer's request for an image; None where the row lacks the text that it reads."""
        text, before = self.texts(facts, seen)
        if (text is None and "text" in facts.reads) or (before is None and "before" in facts.reads):
            return None
        request = request_id(facts, seen.sha256, seen.source, seen.row.mask_hash, text, before)
        # A score from before the recipe looked for near-duplicates is no answer: it has no vector.
        return digest([request, "vector"]) if facts.has_vector else request

    def texts(self, facts: ScorerFacts, seen: Seen) -> tuple[str | None, str | None]:
        """(text, text before the edit) that a scorer reads beside the image; of a chat scorer its question."""
        if facts.question is not None:
            return _question(facts.question, seen), None
        return _text(seen, self.column(facts, seen.source is not None)), seen.row.prompt

    def column(self, facts: ScorerFacts, is_edit: bool) -> str:
        """The column of the text that a scorer reads; by default a description of what the image should show."""
        return facts.text or (EDITED_TEXT if is_edit else GENERATED_TEXT)


def _needs_source(facts: ScorerFacts) -> bool:
    return facts.is_of_edits or bool(facts.reads & {"source", "before", "mask"})


def _reading(formulas: Mapping[str, Formula], scores: frozenset[str]) -> frozenset[str]:
    """The formulas that read one of these scores, through others too. ``formulas``: each after those that it reads."""
    found: set[str] = set()
    for name, formula in formulas.items():
        if formula.names & (scores | found):
            found.add(name)
    return frozenset(found)


def _question(question: str, seen: Seen) -> str | None:
    """The question about one image; None where the row lacks a value that it names."""
    values = {name: _value(seen, name) for name in names_in(question)}
    values = {name: None if isinstance(value, str) and not value.strip() else value for name, value in values.items()}
    return None if None in values.values() else fill_in(question, values)


def _text(seen: Seen, column: str) -> str | None:
    value = _value(seen, column)
    return value if isinstance(value, str) and value.strip() else None


def _value(seen: Seen, column: str) -> str | int | float | None:
    """A text or a number of the row; None where it has neither in this column."""
    if column == "prompt":
        return seen.row.prompt
    if column == "edit_prompt":
        return seen.instruction
    value: Any = seen.row.carried.get(column)
    # Of several instructions each may have a text.
    if isinstance(value, list | tuple):
        value = value[seen.number] if seen.number < len(value) else None
    return value if isinstance(value, str | int | float) and not isinstance(value, bool) else None
