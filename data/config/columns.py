"""Recipe section for the prompts file's fields: which field has which role."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from imagemill.data.config.fields import MaybeText, Section, Text, blank_as_none

GUIDES = {"control_image": "controlnet", "image_prompt": "ip_adapter"}
"""Images of a row that guide its generation: field of recipe.columns -> the field of `generate` that needs it."""

SETTINGS = ("seed", "width", "height", "steps", "guidance_scale", "negative_prompt")
"""Fields of recipe.columns that name a setting of the row: it takes the place of the step's for this row."""

MaybeName = Annotated[Text | None, BeforeValidator(blank_as_none)]


class Columns(Section):
    """Names of the fields to read from the prompts file. An exact match wins over one that differs in case.

    ``body.prompt`` is the field prompt inside the field body, unless a field has the whole name.
    """

    prompt: Text = Field("prompt", title="Prompt", description="Field with the prompt.")
    conversations: MaybeName = Field(
        "conversations",
        title="Conversations",
        description="Field with chat messages: each user message is a prompt; an edit uses the last one. "
        "Empty: none is read.",
    )
    images: Text = Field(
        "images",
        title="Images",
        description="Field with the image to edit: a path, a URL, a data: URI, base64 or (in Parquet) bytes, or a list "
        "with one of these.",
    )
    edit_prompt: Text = Field("edit_prompt", title="Edit prompt", description="Field with the row's edit instruction.")
    mask: Text = Field(
        "mask",
        title="Mask",
        description="Field with the mask for inpainting, in the same forms as an image; white areas are repainted.",
    )
    control_image: Text = Field(
        "control_image",
        title="Control image",
        description="Field with the control image for generate.controlnet, in the same forms as an image.",
    )
    image_prompt: Text = Field(
        "image_prompt",
        title="Image prompt",
        description="Field with the image prompt for generate.ip_adapter, in the same forms as an image.",
    )
    id: MaybeName = Field(
        "id",
        title="Id",
        description="Field with the row's id; rows without one get an id derived from their content. Empty: all do.",
    )
    aspect_ratio: MaybeText = Field(
        None,
        title="Aspect ratio",
        description="Field with the aspect ratio to generate, such as 3:2; empty: none is read.",
    )
    seed: MaybeName = Field("seed", title="Seed", description="Field with the row's seed; empty: none is read.")
    width: MaybeName = Field(
        "width",
        title="Width",
        description="Field with the width to generate; empty: none is read, for files with the size of another image.",
    )
    height: MaybeName = Field(
        "height", title="Height", description="Field with the height to generate; empty: none is read."
    )
    steps: MaybeName = Field(
        "steps", title="Steps", description="Field with the row's denoising steps; empty: none is read."
    )
    guidance_scale: MaybeName = Field(
        "guidance_scale", title="Guidance", description="Field with the row's guidance; empty: none is read."
    )
    negative_prompt: MaybeName = Field(
        "negative_prompt",
        title="Negative prompt",
        description="Field with the row's negative prompt; empty: none is read.",
    )
    model: MaybeName = Field(
        None,
        title="Model",
        description="Field with the row's model: one of sweep.model, or that of the first step; a row without a value "
        "gets all of sweep.model. Empty: none is read.",
    )
    carry_binary: list[Text] = Field(
        [],
        title="Carry binary",
        description="Binary columns of Parquet to carry into the dataset; without this they are left out.",
    )
    retype: bool = Field(
        False,
        title="Retype",
        description="Give the carried columns the types of the rows as they are now; otherwise a dataset keeps those "
        "that it was begun with. Generates nothing.",
    )

    def roles(self) -> dict[str, str | None]:
        """Role -> name of its field."""
        return {role: name for role, name in self.model_dump().items() if role not in ("carry_binary", "retype")}
