"""Recipe section for the images that rows bring along: which of them are read."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from imagemill.data.config.fields import Number, Section, Text, as_list
from imagemill.data.images.limits import MAX_PIXELS


class Images(Section):
    """Limits for the images that rows name or embed. They decide no pixel of an image that is read, and skip finished
    rows."""

    max_pixels: Annotated[int, Field(ge=1, le=MAX_PIXELS), Number] = Field(
        32_000_000,
        title="Maximum pixels",
        description="Largest width times height of a row's image; a row with a larger one is set aside, unless the "
        "dataset has its image already.",
    )
    min_side: Annotated[int, Field(ge=1), Number] = Field(
        16,
        title="Minimum side",
        description="Shortest side of a row's image in pixels; a row with a shorter one, such as a tracking pixel, is "
        "set aside, unless the dataset has its image already.",
    )
    max_ratio: Annotated[float, Field(ge=1, allow_inf_nan=False), Number] = Field(
        20,
        title="Maximum ratio",
        description="Longest side of a row's image divided by the shortest; a row with a narrower one, such as a "
        "dividing line, is set aside, unless the dataset has its image already.",
    )
    truncated: Literal["set_aside", "allow"] = Field(
        "set_aside",
        title="Truncated images",
        description="Rows whose image file ends early: set them aside, or read the file as far as it goes, with grey "
        "or black for the rest.",
    )
    allow_hosts: Annotated[list[Text], BeforeValidator(as_list)] = Field(
        [],
        title="Allowed hosts",
        description="Private hosts that URLs may lead to: names, name:port or networks "
        "such as 10.0.0.0/8. For prompts that are not on this machine, for redirects, and for an API's answers.",
    )
