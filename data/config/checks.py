"""Recipe section for the checks on every image."""

from __future__ import annotations

from pydantic import Field

from imagemill.data.config.fields import Section


class Checks(Section):
    """Checks on every image before it is stored. An image that fails is generated once more, then set aside."""

    not_finite: bool = Field(True, title="Not finite", description="Reject images with NaN or infinite values.")
    blank: bool = Field(
        True,
        title="Blank",
        description="Reject black images, and images in which no value is more than 2 of 255 from a single colour.",
    )
    size: bool = Field(True, title="Size", description="Reject images that are not of the requested size.")
    unchanged: bool = Field(True, title="Unchanged", description="Reject edits that are identical to their source.")
