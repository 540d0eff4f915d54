"""Query of a gallery: which rows it shows, and in which order."""

from __future__ import annotations

from dataclasses import dataclass

from imagemill.data.errors import RecipeError
from imagemill.data.messages import shown

SHOWS = ("data", "rejected", "all")
"""Sets of rows that a query can be over."""

ORDERS = ("desc", "asc")

MAX_WORDS = 12
"""Words that a search may have."""

TEXTS = ("prompt", "edit_prompt")
"""Columns in which words are searched."""


@dataclass(frozen=True, slots=True)
class Query:
    """A selection of rows. Raises RecipeError for a value that it cannot have."""

    show: str = "data"
    """``data`` (the dataset), ``rejected`` (candidates that were not chosen), or ``all``."""
    words: str = ""
    """Words that the prompt or the instruction has, in any case."""
    where: str = ""
    """A filter (data.dataset.where)."""
    sort: str = ""
    """Column of numbers to sort by; empty for the order of the files."""
    order: str = "desc"
    """``desc``: the largest first, or ``asc``."""

    def __post_init__(self) -> None:
        for name, value, allowed in (("show", self.show, SHOWS), ("order", self.order, ORDERS)):
            if value not in allowed:
                raise RecipeError(f"{name} is {shown(value)}; it can be {', '.join(allowed)}.")
        if len(self.words.split()) > MAX_WORDS:
            raise RecipeError(f"the search has over {MAX_WORDS} words: write a filter instead.")

    @property
    def areas(self) -> tuple[str, ...]:
        """Folders in which the rows are."""
        return ("data", "rejected") if self.show == "all" else (self.show,)

    @property
    def is_plain(self) -> bool:
        """True if it shows every row in the order of the files."""
        return not (self.words.strip() or self.where.strip() or self.sort)

    def filter(self, columns: list[str]) -> str:
        """The words and the filter as one filter over these columns; empty if every row meets it."""
        conditions = [self._has_word(word, columns) for word in self.words.split()]
        if self.where.strip():
            conditions.append(f"({self.where})")
        return " and ".join(conditions)

    @staticmethod
    def _has_word(word: str, columns: list[str]) -> str:
        text = word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_").replace("'", "''")
        return "(" + " or ".join(f"{column} ilike '%{text}%'" for column in TEXTS if column in columns) + ")"
