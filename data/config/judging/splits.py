"""Recipe section for splits: a hash decides, so that growing the dataset moves no row."""

from __future__ import annotations

import math
import re
from typing import Annotated

from pydantic import ConfigDict, Field, model_validator

from imagemill.data.config.fields import Number, Section, Text
from imagemill.data.config.template import OneSeed
from imagemill.data.messages import shown

Fraction = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False), Number]

REST = "train"
"""The split of all rows that are in no other."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


class Splits(Section):
    """Splits of the dataset: each name with its fraction of the rows. Further names are allowed; train is the rest."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Fraction]

    validation: Fraction | None = Field(
        None, title="Validation", description="Fraction of the split validation, above 0 and below 1; empty: none."
    )
    test: Fraction | None = Field(
        None, title="Test", description="Fraction of the split test, above 0 and below 1; empty: none."
    )
    by: Text = Field(
        "prompt",
        title="By",
        description="Rows that have this in common are in one split: prompt, image (the given or generated source), or "
        "a column of the prompts file.",
    )
    seed: OneSeed = Field(0, title="Seed", description="Another seed gives other splits.")

    @model_validator(mode="after")
    def _fit(self) -> Splits:
        for name in self.__pydantic_extra__:
            if not _NAME.fullmatch(name):
                raise ValueError(
                    f"{shown(name)} is not a name for a split: it must be of small letters, digits and _, and begin "
                    "with a letter"
                )
        for name in (REST, "all"):
            if name in self.__pydantic_extra__:
                raise ValueError(
                    f"{name!r} is no name for a split: {REST} is the split of all rows in no other, and "
                    "readers take all for every row; leave it out"
                )
        if not self.fractions:
            raise ValueError("it names no split: give at least one, such as {validation: 0.02}")
        total = math.fsum(self.fractions.values())
        if total >= 1:
            raise ValueError(f"the fractions add up to {total:g}: they must leave something for {REST}")
        return self

    @property
    def fractions(self) -> dict[str, float]:
        """Split -> its fraction of the rows, sorted by name; without train."""
        declared = {"validation": self.validation, "test": self.test}
        fractions = {**declared, **self.__pydantic_extra__}
        return {name: fraction for name, fraction in sorted(fractions.items()) if fraction is not None}

    @property
    def names(self) -> tuple[str, ...]:
        """All splits, train first."""
        return (REST, *self.fractions)
