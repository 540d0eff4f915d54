"""Recipe section for the rows' own images, where a recipe generates and edits nothing, but judges."""

from __future__ import annotations

from pydantic import Field, model_validator

from imagemill.data.config.fields import Section
from imagemill.data.config.judging.select import Select


class Given(Section):
    """Judging of the rows' own images: nothing is generated."""

    select: Select | None = Field(None, title="Select", description="Rule for the images to keep; absent: all.")

    @property
    def kept(self) -> int:
        """Most images of a row that are kept."""
        return 1

    @model_validator(mode="after")
    def _has_one_candidate(self) -> Given:
        if self.select is not None and self.select.of not in (None, 1):
            raise ValueError(
                f"select.of is {self.select.of}: a row's own image is its only candidate; leave out of, or set it to 1"
            )
        return self
