"""Recipe section for the images that rows bring along: limits that hold before an image is decoded."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from imagemill.data.config.fields import Number, Section, Text, as_list
from imagemill.data.images.limits import MAX_PIXELS


class Images(Section):
    """Limits for the images that rows name or embed. They decide no pixel and spare finished rows."""

    max_pixels: Annotated[int, Field(ge=1, le=MAX_PIXELS), Number] = Field(
        32_000_000,
        title="Maximum pixels",
        description="Largest width times height of a row's image; a row with a larger one is set aside, unless the "
        "dataset has its image already.",
    )
    allow_hosts: Annotated[list[Text], BeforeValidator(as_list)] = Field(
        [],
        title="Allowed hosts",
        description="Hosts that are not public and that URLs may lead to all the same: names, name:port or networks "
        "such as 10.0.0.0/8. For prompts that are not on this machine, for redirects, and for an API's answers.",
    )
