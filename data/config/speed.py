"""Recipe section for a step's speed settings. All but the caches change pixels, most of them by rounding only."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from imagemill.data.config.fields import Section

Attention = Literal["auto", "native", "cudnn", "flash", "flash_3", "flash_3_hub", "sage", "sage_hub", "xformers"]
StepCachePolicy = Literal["none", "first_block", "taylorseer", "magcache"]

_EXACT = {"remember_texts", "remember_sources"}
"""Settings that change no pixel."""


class Speed(Section):
    """Settings that make a step faster. docs/performance.md has the speedup of each and its effect on the pixels."""

    remember_texts: bool = Field(
        True,
        title="Cache texts",
        description="Reuse the encodings of batches of texts that were encoded before; changes no pixel.",
    )
    remember_sources: bool = Field(
        True,
        title="Cache sources",
        description="Encode an image once for all the edits that start from it; changes no pixel.",
    )
    compile: bool = Field(
        False,
        title="Compile",
        description="Run torch.compile on the model's repeated blocks: slow to start, then faster; changes rounding.",
    )
    attention: Attention = Field(
        "auto",
        title="Attention",
        description="Attention backend of diffusers; auto: PyTorch's. The others need their package and a GPU.",
    )
    channels_last: bool = Field(
        False, title="Channels last", description="Memory format of the VAE that suits GPUs; changes rounding."
    )
    fuse_qkv: bool = Field(
        False,
        title="Fuse QKV",
        description="Compute an attention layer's query, key and value in one projection; changes rounding on a GPU.",
    )
    step_cache: StepCachePolicy = Field(
        "none",
        title="Step cache",
        description="Skip work in steps similar to the previous one; changes images. first_block needs batch_size 1.",
    )

    def identity(self) -> dict[str, Any]:
        """The non-default settings that decide pixels; empty if there are none."""
        return self.model_dump(exclude_defaults=True, exclude=_EXACT)
