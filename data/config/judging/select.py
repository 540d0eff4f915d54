"""Recipe section for selection: how many candidates a row has, and which of them are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal, Protocol, Self

from pydantic import Field, model_validator

from imagemill.data.config.fields import Number, Section
from imagemill.data.config.judging.names import MaybeScoreRef, ScoreRef

Bound = Annotated[float, Field(allow_inf_nan=False), Number]
Candidates = Annotated[int, Field(ge=1, le=10_000), Number]


class Bounds(Section):
    """The range that a score must be in, its ends included. A score that is null is in none."""

    min: Bound | None = Field(None, title="Minimum", description="Smallest score that passes; empty: any.")
    max: Bound | None = Field(None, title="Maximum", description="Largest score that passes; empty: any.")

    @model_validator(mode="after")
    def _has_a_range(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("it has neither min nor max: give one of them, such as {min: 0.24}")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min is {self.min:g} and max is {self.max:g}, so that no score passes")
        return self


class Select(Section):
    """Choice among the candidates of one row: those that pass, and of them the best. The others go to rejected/."""

    of: Candidates | None = Field(
        None,
        title="Of",
        description="Number of candidates to generate for each row; empty: as many as are kept, so that the rule only "
        "filters.",
    )
    where: dict[ScoreRef, Bounds] = Field(
        {}, title="Where", description="Scorer -> range that its score must be in: {fits: {min: 0.24}}."
    )
    best: MaybeScoreRef = Field(
        None, title="Best", description="Scorer by which the best that pass are kept; empty: the first that pass."
    )
    draw: Literal["all", "until_enough"] = Field(
        "all",
        title="Draw",
        description="Generate all candidates, or one after the other until enough of a row have passed.",
    )

    @model_validator(mode="after")
    def _can_stop_early(self) -> Self:
        if self.draw == "until_enough" and self.best is not None:
            raise ValueError(
                f"draw is until_enough and best is {self.best!r}: the best is known only when all candidates are "
                "there; leave out best, or set draw to all"
            )
        return self

    def check_of(self, keep: int, field: str) -> None:
        """Raise ValueError if fewer candidates than ``keep``, the number in ``field``, are generated."""
        if self.of is not None and self.of < keep:
            raise ValueError(
                f"select.of is {self.of} and {field} is {keep}: of is how many candidates there are in all, and "
                f"{field} how many of them are kept; set of to {keep} or more"
            )


@dataclass(frozen=True, slots=True)
class Rule:
    """Rule that chooses among the candidates of a row at one step."""

    of: int
    """Number of candidates; they are numbered from 0."""
    keep: int
    """Most candidates that are kept."""
    where: Mapping[str, Bounds] = field(default_factory=dict)
    """Score -> range that it must be in."""
    best: str | None = None
    draw: Literal["all", "until_enough"] = "all"

    @property
    def scores(self) -> tuple[str, ...]:
        """The scores that the choice reads; a candidate without one of them is not kept."""
        return tuple(dict.fromkeys([*self.where, *([self.best] if self.best is not None else [])]))

    @property
    def is_plain(self) -> bool:
        """True if every candidate is kept."""
        return self.of == self.keep and not self.where


class Selecting(Protocol):
    """A section with a rule: `generate`, `edit`, or `given`."""

    @property
    def select(self) -> Select | None:
        """Its rule; None keeps every image."""

    @property
    def kept(self) -> int:
        """Number of candidates of a row that are kept."""


def rule_of(section: Selecting) -> Rule:
    """The rule of a section, with or without `select`."""
    select, keep = section.select, section.kept
    if select is None:
        return Rule(keep, keep)
    return Rule(select.of or keep, keep, select.where, select.best, select.draw)
