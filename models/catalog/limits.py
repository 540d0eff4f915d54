"""Defaults and limits of the settings that a recipe or a row can give a model."""

from __future__ import annotations

from dataclasses import dataclass

ONE_TEXT_LENGTH = (
    "QwenImagePipeline",
    "QwenImageImg2ImgPipeline",
    "QwenImageInpaintPipeline",
    "QwenImageControlNetPipeline",
)
"""Pipelines whose texts imagemill makes max_sequence_length tokens long, always with a mask. By themselves they make
them as long as a call's longest and mask them only if they differ; both decide an image's bits."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """Settings of an image where neither the recipe nor its row gives them; None: the model has none."""

    width: int | None = None
    height: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Settings that a model can take."""

    size_multiple: int
    """Width and height are multiples of this many pixels."""
    negative_prompt: bool
    """True if it makes use of one."""
    true_cfg: bool = False
    """True if it makes use of one if the recipe gives a true_cfg_scale."""
    uses_guidance: bool = True
    """True if it makes use of a guidance scale."""
    min_steps: int = 1
    """The fewest denoising steps that make sense with its strength (models.catalog.capabilities.fewest_steps)."""
    max_batch: int | None = None
    """The most rows of one call; None: any number."""
    buckets: tuple[tuple[int, int], ...] = ()
    """Widths and heights that it generates best, in pixels, its own first."""
    only_buckets: bool = False
    """True if it generates no other sizes."""
