"""Recipe sections for a step's adapters: LoRAs, a ControlNet, an IP-Adapter."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from imagemill.data.config.fields import MaybeText, Section, Text, as_list


class Lora(Section):
    """A LoRA applied to the model, in safetensors format. A plain text is its source."""

    source: Text = Field(
        title="Source", description="A .safetensors file, a folder containing one, or an 'org/name' repository."
    )
    weight: float = Field(
        1.0, ge=-10, le=10, allow_inf_nan=False, title="Weight", description="Strength of the LoRA; 1 is as trained."
    )
    weight_name: MaybeText = Field(
        None, title="File", description="The .safetensors file to use if the folder or repository has several."
    )
    revision: MaybeText = Field(
        None, title="Revision", description="Commit, tag or branch of the repository; empty: its default branch."
    )


def _as_loras(value: Any) -> Any:
    """Wrap a single LoRA in a list and read a plain text as its source; pydantic checks the rest."""
    loras = as_list(value)
    loras = loras if isinstance(loras, list | tuple) else [loras]
    return [{"source": lora} if isinstance(lora, str) else lora for lora in loras]


Loras = Annotated[list[Lora], BeforeValidator(_as_loras)]


class Controlnet(Section):
    """A ControlNet that guides generation with an image from each row. A plain text is its model."""

    model: Text = Field(
        title="Model", description="A folder with config.json and safetensors, or an 'org/name' repository."
    )
    revision: MaybeText = Field(
        None, title="Revision", description="Commit, tag or branch of the repository; empty: its default branch."
    )
    subfolder: MaybeText = Field(
        None, title="Subfolder", description="Subfolder of the folder or repository that contains it; empty: the root."
    )
    scale: float = Field(
        1.0,
        ge=0,
        le=10,
        allow_inf_nan=False,
        title="Scale",
        description="Strength of the ControlNet (controlnet_conditioning_scale); 0 has no effect.",
    )
    start: float = Field(
        0.0,
        ge=0,
        le=1,
        allow_inf_nan=False,
        title="Start",
        description="Fraction of the steps at which the ControlNet starts to apply.",
    )
    end: float = Field(
        1.0,
        ge=0,
        le=1,
        allow_inf_nan=False,
        title="End",
        description="Fraction of the steps at which the ControlNet stops applying.",
    )
    mode: int | None = Field(
        None, ge=0, le=99, title="Mode", description="FLUX union ControlNets only: the number of the control type."
    )

    @model_validator(mode="after")
    def _starts_before_it_ends(self) -> Controlnet:
        if self.start >= self.end:
            raise ValueError(f"start is {self.start:g} and end is {self.end:g}: start must be smaller than end")
        return self


class IpAdapter(Section):
    """An IP-Adapter that uses an image from each row as a prompt in addition to the text."""

    model: Text = Field(title="Model", description="A folder, or an 'org/name' repository.")
    weight_name: Text = Field(
        title="File", description="The .safetensors file to load, such as ip-adapter_sd15.safetensors."
    )
    revision: MaybeText = Field(
        None, title="Revision", description="Commit, tag or branch of the repository; empty: its default branch."
    )
    subfolder: MaybeText = Field(
        None,
        title="Subfolder",
        description="Subfolder of the folder or repository that contains the file; empty: the root.",
    )
    image_encoder: Text = Field(
        "image_encoder",
        title="Image encoder",
        description="Folder of the adapter's image encoder: a name is relative to the file, a path to the root.",
    )
    scale: float = Field(
        1.0,
        ge=0,
        le=10,
        allow_inf_nan=False,
        title="Scale",
        description="Strength of the image relative to the text; 0 has no effect.",
    )


def _as_section(value: Any) -> Any:
    """Read a plain text as the model; a blank one as no ControlNet."""
    if isinstance(value, str):
        return {"model": value} if value.strip() else None
    return value


MaybeControlnet = Annotated[Controlnet | None, BeforeValidator(_as_section)]
