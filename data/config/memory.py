"""A step's memory settings, as a recipe gives them: how a model fits into less memory than it asks for."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Offload = Literal["none", "model", "sequential", "group"]
Quantization = Literal[
    "none", "bitsandbytes_8bit", "bitsandbytes_4bit", "torchao_int8", "torchao_float8", "torchao_float8_dynamic"
]


class Memory(BaseModel):
    """How a step's model is made to fit. Quantization and tiling change pixels; the others at most their last bit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    offload: Offload = Field(
        "none",
        title="Offload",
        description="What waits in host memory until it is needed: whole parts (model), groups of layers (group), or "
        "single layers (sequential, the slowest). On a CPU there is nothing to offload.",
    )
    attention_slicing: bool = Field(
        False, title="Attention slicing", description="Attention a slice at a time; for older models, UNets above all."
    )
    vae_slicing: bool = Field(False, title="VAE slicing", description="Decode a batch image by image.")
    vae_tiling: bool = Field(
        False,
        title="VAE tiling",
        description="Decode large images tile by tile; blends the tiles, so changes pixels.",
    )
    quantization: Quantization = Field(
        "none",
        title="Quantization",
        description="Weights in fewer bits; changes pixels. torchao_float8_dynamic computes in float8, too: for speed, "
        "with compile, on an H100 or newer. Needs imagemill[bitsandbytes] or imagemill[torchao].",
    )

    def identity(self) -> dict[str, Any]:
        """What of these decides pixels and is not as it is by default; empty for the plain run."""
        return self.model_dump(exclude_defaults=True, include={"quantization", "vae_tiling"})
