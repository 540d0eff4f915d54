"""Recipe section for preference pairs: a better and a worse image of one prompt, out of the candidates."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from imagemill.data.config.fields import Number, Section
from imagemill.data.config.judging.names import ScoreRef


class Pairs(Section):
    """Preference pairs, written to pairs/: two images of one row of the prompts file, models and seeds included."""

    by: ScoreRef = Field(title="By", description="Scorer by which one image is better than the other.")
    margin: Annotated[float, Field(ge=0, allow_inf_nan=False), Number] = Field(
        0.0, title="Margin", description="Smallest difference of their scores. Equal scores never make a pair."
    )
    most: Annotated[int, Field(ge=1, le=10_000), Number] = Field(
        1, title="Most", description="Pairs of a row, at most; those with the largest difference are taken."
    )
    where: Literal["select", "any"] = Field(
        "select", title="Where", description="Only images that passed the step's select.where, or any candidates."
    )
