"""Recipe section for a step's memory settings: offloading, slicing, tiling, quantization."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from imagemill.data.config.fields import Section

Offload = Literal["none", "model", "sequential", "group"]
Quantization = Literal[
    "none", "bitsandbytes_8bit", "bitsandbytes_4bit", "torchao_int8", "torchao_float8", "torchao_float8_dynamic"
]


class Memory(Section):
    """Settings that reduce a model's memory use. Quantization and tiling change pixels; the rest at most rounding."""

    offload: Offload = Field(
        "none",
        title="Offload",
        description="Units that stay in host memory until use: whole components (model), groups of layers (group) "
        "or single layers (sequential, the slowest). Has no effect on a CPU.",
    )
    attention_slicing: bool = Field(
        False,
        title="Attention slicing",
        description="Compute attention in slices; for older models, mainly those with a UNet.",
    )
    vae_slicing: bool = Field(False, title="VAE slicing", description="Decode a batch one image at a time.")
    vae_tiling: bool = Field(
        False,
        title="VAE tiling",
        description="Decode large images in tiles; tiles are blended, which changes pixels.",
    )
    quantization: Quantization = Field(
        "none",
        title="Quantization",
        description="Store the weights of all large parts but the autoencoder in fewer bits; changes pixels. "
        "torchao_float8_dynamic also computes in float8, for speed: use it with compile on an H100 or newer. Needs "
        "imagemill[bitsandbytes] or imagemill[torchao].",
    )

    def identity(self) -> dict[str, Any]:
        """The non-default settings that decide pixels; empty if there are none."""
        return self.model_dump(exclude_defaults=True, include={"quantization", "vae_tiling"})
