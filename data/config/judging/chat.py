"""Recipe section for a scorer that is a language model: it is asked about each image, and its answer is the score."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, model_validator

from imagemill.data.config.judging.scorer import Reads, ScorerSection
from imagemill.data.config.words.answer_fields import AnswerFields
from imagemill.data.config.words.asking import Asking
from imagemill.data.messages import shown

SEEN = ("image", "edited_image", "input_image", "mask_image")
"""Images that a chat scorer can be sent: the judged one (of an edit also edited_image), its input and its mask."""

_FIELD = re.compile(r"[a-z][a-z0-9_]{0,39}")


class ChatScorer(Asking, ScorerSection):
    """Questions about an image to a language model: numbers of its answers are scores, its texts further columns."""

    kind: Literal["chat"] = Field(title="Kind", description="chat: a language model that sees the image.")

    @model_validator(mode="after")
    def _can_score(self) -> ChatScorer:
        for column in self.sees:
            if column not in SEEN:
                raise ValueError(
                    f"sees names {shown(column)}: a scorer sees {', '.join(SEEN)}; leave sees out for the image alone"
                )
        for name, field in self.answer_fields.items():
            if not _FIELD.fullmatch(name):
                raise ValueError(
                    f"fields has {shown(name)}: a scorer's field must be of small letters, digits and _, begin with a "
                    "letter and have at most 40 characters, since its name becomes a column's"
                )
            if field.kind == "list":
                raise ValueError(
                    f"fields.{name} is a list: a scorer gives numbers (number, or a range such as 1..5) and texts "
                    "(text, or a list of choices)"
                )
        return self

    @property
    def images(self) -> tuple[str, ...]:
        """Columns that it is sent, in order."""
        return tuple(self.sees) or ("image",)

    @property
    def reads(self) -> frozenset[Reads]:
        """Inputs beside the image."""
        reads: set[Reads] = {"text"}
        reads |= {"source"} if "input_image" in self.images else set()
        reads |= {"mask"} if "mask_image" in self.images else set()
        return frozenset(reads)

    @property
    def is_of_edits(self) -> bool:
        """True if it judges edits alone."""
        return bool({"edited_image", "input_image", "mask_image"}.intersection(self.images))

    def scores(self, name: str) -> tuple[str, ...]:
        """Names of its scores, where the recipe calls it ``name``: one for each number of its answers."""
        return tuple(f"{name}_{field}" for field in self._numbers(self.answer_fields))

    def texts(self, name: str) -> tuple[str, ...]:
        """Names of the columns with the texts of its answers."""
        fields = self.answer_fields
        numbers = self._numbers(fields)
        return tuple(f"{name}_{field}" for field in fields if field not in numbers)

    def identity(self) -> dict[str, Any]:
        """Settings that decide an answer, beside the row's values and images."""
        return {**super().identity(), "sees": list(self.images)}

    @staticmethod
    def _numbers(fields: AnswerFields) -> list[str]:
        return [name for name, field in fields.items() if field.is_number]
