"""What a step puts on its model: LoRAs, as a recipe gives them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


def _blank(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


_MaybeText = Annotated[str | None, BeforeValidator(_blank)]


class Lora(BaseModel):
    """A LoRA that the model is drawn with, in safetensors. A plain text is its source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: _Text = Field(
        title="Source", description="A .safetensors file, a folder that has one, or an 'org/name' repository."
    )
    weight: float = Field(
        1.0, ge=-10, le=10, allow_inf_nan=False, title="Weight", description="How strongly it counts; 1 is as trained."
    )
    weight_name: _MaybeText = Field(
        None, title="File", description="Which .safetensors file of the folder or repository, where it has several."
    )
    revision: _MaybeText = Field(
        None, title="Revision", description="Commit, tag or branch of the repository; empty: its default branch."
    )


def _as_list(value: Any) -> Any:
    """One is a list of one, a text is a source; what else is wrong with it is pydantic's to say."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return []
    given = value if isinstance(value, list | tuple) else [value]
    return [{"source": one} if isinstance(one, str) else one for one in given]


Loras = Annotated[list[Lora], BeforeValidator(_as_list)]
