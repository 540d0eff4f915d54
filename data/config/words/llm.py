"""Recipe section for columns that a language model writes, before rows are planned."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from imagemill.data.config.fields import Number
from imagemill.data.config.words.asking import Asking

MAX_COUNT = 10_000
"""Most rows that one step makes of one."""


class LlmStep(Asking):
    """Columns that a language model writes for each row, at load time. The steps run in order."""

    count: Annotated[int, Field(ge=1, le=MAX_COUNT), Number] | None = Field(
        None,
        title="Count",
        description="Rows made of each row, with one answer each; their ids end in -0, -1 and so on, and an empty "
        "temperature is 1. Empty: the row stays one.",
    )

    @model_validator(mode="before")
    @classmethod
    def _choose_temperature(cls, fields: Any) -> Any:
        """Several answers to one question are to differ."""
        if isinstance(fields, dict) and "temperature" not in fields and _is_several(fields.get("count")):
            return {**fields, "temperature": 1.0}
        return fields

    @model_validator(mode="after")
    def _answers_differ(self) -> Self:
        if _is_several(self.count) and self.temperature == 0:
            raise ValueError(
                f"count asks the same question {self.count} times, and with temperature 0 the answers would be the "
                "same: leave out temperature, or give a higher one"
            )
        return self


def _is_several(count: Any) -> bool:
    return isinstance(count, int) and count > 1
