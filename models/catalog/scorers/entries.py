"""Entries of the catalog for scorers: models that judge images. Validated when the catalog is read."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

ScorerKind = Literal["similarity", "head", "classify"]
"""Kinds of scorers that have a model."""


class ScorerEntry(BaseModel):
    """One model for scoring."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kinds: list[ScorerKind] = Field(min_length=1)
    """Kinds of scorers that it serves; an encoder serves similarity and head."""
    repository: str | None = Field(None, pattern=r"^[A-Za-z0-9][\w.-]*/[\w.-]+$")
    folder: str | None = None
    revision: str | None = None
    aliases: list[str] = []
    """Further names, in any capitals."""
    texts: bool = True
    """True if an encoder reads texts too, so that an image can be compared with its prompt."""
    labels: list[str] = []
    """A classifier's labels."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    memory_gib: float | None = Field(None, gt=0)
    """Of its weights, in its dtype."""
    licence: str = "unknown"
    gated: bool = False

    @model_validator(mode="after")
    def _lies_somewhere(self) -> ScorerEntry:
        if (self.repository is None) == (self.folder is None):
            raise ValueError("give either 'repository' (org/name) or 'folder'")
        return self
