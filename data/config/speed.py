"""A step's speed settings, as a recipe gives them. All but the first change pixels, most of them by rounding only."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Attention = Literal["auto", "native", "cudnn", "flash", "flash_3", "flash_3_hub", "sage", "sage_hub", "xformers"]
StepCachePolicy = Literal["none", "first_block", "taylorseer", "magcache"]

_EXACT = {"remember_texts", "remember_sources"}
"""Settings that change no pixel."""


class Speed(BaseModel):
    """How a step is generated faster. docs/performance.md says what each setting gained, and what it did to the pixels."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    remember_texts: bool = Field(
        True,
        title="Remember texts",
        description="Batches of texts that were encoded before are not encoded again; changes no pixel.",
    )
    remember_sources: bool = Field(
        True,
        title="Remember sources",
        description="An image that several edits start from is encoded once for them; changes no pixel.",
    )
    compile: bool = Field(
        False,
        title="Compile",
        description="torch.compile of the model's repeated blocks: slow at first, then faster; rounds differently.",
    )
    attention: Attention = Field(
        "auto",
        title="Attention",
        description="Attention backend of diffusers; auto: torch's own. Others need their package, and a GPU.",
    )
    channels_last: bool = Field(
        False, title="Channels last", description="Memory order of the autoencoder that suits GPUs; rounds differently."
    )
    fuse_qkv: bool = Field(
        False, title="Fuse QKV", description="One matrix for an attention's three inputs; rounds differently on a GPU."
    )
    step_cache: StepCachePolicy = Field(
        "none",
        title="Step cache",
        description="Skips work between steps that are alike, and so changes images; first_block needs batch_size 1.",
    )

    def identity(self) -> dict[str, Any]:
        """What of these decides pixels and is not as it is by default; empty for the plain run."""
        return self.model_dump(exclude_defaults=True, exclude=_EXACT)
