"""Record of which tasks of which families have been run, and how: docs/reference/models.md lists them.

None was run with its published weights. A tiny pipeline has the family's class and kinds of parts, far smaller, with
random weights.
"""

from __future__ import annotations

SAVED = "saved and loaded"
"""A tiny pipeline, saved to a folder that the recipe names, and loaded and called by a build."""

IN_MEMORY = "made in memory"
"""A tiny pipeline that the worker makes itself, since this family's cannot be saved here."""

LARGE = "saved and loaded, called without a build"
"""The same without a build: whatever size is requested, it generates a megapixel and scales that down."""

OWN_SIZES = "saved and loaded, called without a build at the one size that it generates"
"""The same without a build: it generates one number of pixels only."""

TRIED: dict[str, dict[str, str]] = {
    "StableDiffusionPipeline": {"text-to-image": SAVED, "image-to-image": SAVED, "inpaint": SAVED},
    "StableDiffusionInpaintPipeline": {"inpaint": SAVED},
    "StableDiffusionInstructPix2PixPipeline": {"instruction": SAVED},
    "StableDiffusionXLPipeline": {"text-to-image": SAVED, "image-to-image": SAVED, "inpaint": SAVED},
    "StableDiffusionXLInpaintPipeline": {"inpaint": SAVED},
    "StableDiffusion3Pipeline": {"text-to-image": SAVED, "image-to-image": SAVED, "inpaint": SAVED},
    "FluxPipeline": {"text-to-image": SAVED, "instruction": SAVED, "image-to-image": SAVED, "inpaint": SAVED},
    "FluxKontextPipeline": {"text-to-image": SAVED, "instruction": SAVED, "inpaint": SAVED},
    "FluxFillPipeline": {"inpaint": SAVED},
    "Flux2Pipeline": {"text-to-image": SAVED, "instruction": SAVED},
    "Flux2KleinPipeline": {"text-to-image": SAVED, "instruction": SAVED, "inpaint": SAVED},
    "QwenImagePipeline": {"text-to-image": SAVED, "image-to-image": SAVED, "inpaint": SAVED},
    "QwenImageEditPipeline": {"instruction": IN_MEMORY, "inpaint": IN_MEMORY},
    "QwenImageEditPlusPipeline": {"instruction": IN_MEMORY},
    "QwenImage21Pipeline": {"text-to-image": IN_MEMORY, "instruction": IN_MEMORY},
    "ZImagePipeline": {"text-to-image": SAVED, "image-to-image": SAVED, "inpaint": SAVED},
    "HiDreamImagePipeline": {"text-to-image": OWN_SIZES},
    "SanaPipeline": {"text-to-image": SAVED},
    "SanaSprintPipeline": {"text-to-image": LARGE},
    "ChromaPipeline": {"text-to-image": SAVED, "image-to-image": SAVED},
    "Lumina2Pipeline": {"text-to-image": SAVED},
    "PixArtSigmaPipeline": {"text-to-image": SAVED},
    "HunyuanImagePipeline": {"text-to-image": SAVED},
    "KolorsPipeline": {"text-to-image": SAVED, "image-to-image": SAVED},
    "LatentConsistencyModelPipeline": {"text-to-image": SAVED, "image-to-image": SAVED},
}
"""Family -> task -> how it was run."""

WITH_CONTROLNET = ("StableDiffusionPipeline", "StableDiffusionXLPipeline", "FluxPipeline", "QwenImagePipeline")
"""Families that were run with a ControlNet: a tiny one with random weights, saved and loaded."""

WITH_IP_ADAPTER = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")
"""Families that were run with an IP-Adapter: a tiny one with random weights, saved and loaded."""
