"""Recipe section for parts that replace those of a step's model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from imagemill.data.config.fields import MaybeText, Section, Text

PartName = Literal["vae", "unet", "transformer", "text_encoder", "text_encoder_2", "text_encoder_3"]


class Part(Section):
    """A part of the model, from elsewhere. A plain text is its source."""

    source: Text = Field(
        title="Source", description="A part's folder, a whole model's, a .safetensors or .gguf file, or 'org/name'."
    )
    subfolder: MaybeText = Field(
        None, title="Subfolder", description="Subfolder that contains it; empty: the root, of a whole model the part's."
    )
    file: MaybeText = Field(
        None, title="File", description="The single .safetensors or .gguf file of a repository that is the part."
    )
    revision: MaybeText = Field(
        None, title="Revision", description="Commit, tag or branch of the repository; empty: its default branch."
    )


def _as_parts(value: Any) -> Any:
    """Read a plain text as a part's source; pydantic checks the rest."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return {}
    if not isinstance(value, dict):
        return value
    return {name: {"source": part} if isinstance(part, str) else part for name, part in value.items()}


Parts = Annotated[dict[PartName, Part], BeforeValidator(_as_parts)]
