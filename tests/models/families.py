"""Which tasks of which families the tests draw, and how; docs/models.md is made from this."""

from __future__ import annotations

SAVED = "saved and loaded"
"""A tiny pipeline with random weights, saved to a folder that the recipe names: the whole way that a model goes."""

IN_MEMORY = "made in memory"
"""A tiny pipeline with random weights that the worker makes itself, since this family's cannot be saved here."""

LARGE = "saved and loaded, generated alone"
"""The same without a build: whatever is asked for, it generates a megapixel and makes it smaller."""

OWN_SIZES = "saved and loaded, generated alone at a size of its own"
"""The same without a build: it generates one number of pixels alone."""

DRAWN: dict[str, dict[str, str]] = {
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
    "ZImagePipeline": {"text-to-image": SAVED, "image-to-image": SAVED, "inpaint": SAVED},
    "HiDreamImagePipeline": {"text-to-image": OWN_SIZES},
    "SanaPipeline": {"text-to-image": SAVED},
    "SanaSprintPipeline": {"text-to-image": LARGE},
}

WITH_CONTROLNET = ("StableDiffusionPipeline", "StableDiffusionXLPipeline", "FluxPipeline", "QwenImagePipeline")
"""Families that the tests draw along a control image, with a tiny random ControlNet, saved and loaded."""

WITH_IP_ADAPTER = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")
"""Families that the tests draw with an image prompt, with a tiny random IP-Adapter, saved and loaded."""
