"""Recipe section for near-duplicates: the first stays, the others go to rejected/."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from imagemill.data.config.fields import Number, Section
from imagemill.data.config.judging.names import ScoreRef

PHASH = "phash"
"""Perceptual hash of an image, instead of a scorer's embedding."""

DISTANCE = 4


class Duplicates(Section):
    """Images that look the same: of those kept, the first in the order of the prompts file stays."""

    by: ScoreRef = Field(
        PHASH,
        title="By",
        description="phash (a perceptual hash of 64 bits), or a scorer of kind similarity or head: by its embeddings.",
    )
    distance: Annotated[int, Field(ge=0, le=16), Number] = Field(
        DISTANCE, title="Distance", description="By phash: bits in which the hashes of duplicates differ, at most."
    )
    cosine: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False), Number] | None = Field(
        None, title="Cosine", description="By a scorer: cosine similarity of duplicates' embeddings, at least."
    )

    @model_validator(mode="after")
    def _has_its_limit(self) -> Duplicates:
        if self.by == PHASH and self.cosine is not None:
            raise ValueError(
                "by is phash and cosine is given: hashes have a distance; give distance, or set by to a scorer"
            )
        if self.by != PHASH and self.cosine is None:
            raise ValueError(f"by is {self.by!r} and cosine is missing: give it, such as cosine: 0.97")
        if self.by != PHASH and self.distance != DISTANCE:
            raise ValueError(f"by is {self.by!r} and distance is given: embeddings have a cosine; leave out distance")
        return self
