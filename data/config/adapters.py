"""What a step puts on its model, or beside it: LoRAs, a ControlNet, an IP-Adapter, as a recipe gives them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


def _blank(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


_MaybeText = Annotated[str | None, BeforeValidator(_blank)]


class Lora(BaseModel):
    """A LoRA that the model is generated with, in safetensors. A plain text is its source."""

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


class Controlnet(BaseModel):
    """A ControlNet that lets each row's own image steer the drawing. A plain text is its model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: _Text = Field(
        title="Model", description="A folder with config.json and safetensors, or an 'org/name' repository."
    )
    revision: _MaybeText = Field(
        None, title="Revision", description="Commit, tag or branch of the repository; empty: its default branch."
    )
    subfolder: _MaybeText = Field(
        None, title="Subfolder", description="Which folder of the repository or folder has it; empty: the top."
    )
    scale: float = Field(
        1.0,
        ge=0,
        le=10,
        allow_inf_nan=False,
        title="Scale",
        description="How strongly it counts (controlnet_conditioning_scale); at 0 not at all.",
    )
    start: float = Field(
        0.0, ge=0, le=1, allow_inf_nan=False, title="Start", description="Share of the steps after which it sets in."
    )
    end: float = Field(
        1.0, ge=0, le=1, allow_inf_nan=False, title="End", description="Share of the steps after which it stops."
    )
    mode: int | None = Field(
        None, ge=0, le=99, title="Mode", description="FLUX's union ControlNets only: the number of the kind of control."
    )

    @model_validator(mode="after")
    def _starts_before_it_ends(self) -> Controlnet:
        if self.start >= self.end:
            raise ValueError(f"start is {self.start:g} and end {self.end:g}: it has to set in before it stops")
        return self


class IpAdapter(BaseModel):
    """An IP-Adapter, which lets each row's own image be a prompt beside the words."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: _Text = Field(title="Model", description="A folder, or an 'org/name' repository.")
    weight_name: _Text = Field(
        title="File", description="Which .safetensors file of it, such as ip-adapter_sd15.safetensors."
    )
    revision: _MaybeText = Field(
        None, title="Revision", description="Commit, tag or branch of the repository; empty: its default branch."
    )
    subfolder: _MaybeText = Field(
        None, title="Subfolder", description="Which folder of the repository or folder has the file; empty: the top."
    )
    image_encoder: _Text = Field(
        "image_encoder",
        title="Image encoder",
        description="Folder of the adapter's image encoder: a name is beside the file, a path is from the top.",
    )
    scale: float = Field(
        1.0,
        ge=0,
        le=10,
        allow_inf_nan=False,
        title="Scale",
        description="How strongly the image counts beside the words; at 0 not at all.",
    )


def _as_section(value: Any) -> Any:
    """A plain text is the model."""
    if isinstance(value, str):
        return {"model": value} if value.strip() else None
    return value


MaybeControlnet = Annotated[Controlnet | None, BeforeValidator(_as_section)]
