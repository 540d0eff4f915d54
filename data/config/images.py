"""Recipe section for the images that rows bring along: limits that hold before an image is decoded."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from imagemill.data.config.fields import Number, Section
from imagemill.data.images.limits import MAX_PIXELS


class Images(Section):
    """Limits for the images that rows name or embed. They decide no pixel and spare finished rows."""

    max_pixels: Annotated[int, Field(ge=1, le=MAX_PIXELS), Number] = Field(
        32_000_000,
        title="Maximum pixels",
        description="Largest width times height of a row's image; a row with a larger one is set aside, unless the "
        "dataset has its image already.",
    )
