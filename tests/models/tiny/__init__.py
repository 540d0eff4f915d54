"""Pipelines of every family, made from configs with random weights: seconds on a CPU, no download."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch

from tests.models.tiny.flux import flux, flux2, flux2_klein
from tests.models.tiny.hunyuan import hunyuan_image
from tests.models.tiny.kolors import kolors
from tests.models.tiny.others import chroma, hidream, latent_consistency, lumina2, pixart, sana, z_image
from tests.models.tiny.qwen import qwen_parts
from tests.models.tiny.stable_diffusion import sd, sd3, sdxl

MAKERS: dict[str, Callable[[], Any]] = {
    "StableDiffusionPipeline": sd,
    "StableDiffusionInpaintPipeline": lambda: sd(9, "StableDiffusionInpaintPipeline"),
    "StableDiffusionInstructPix2PixPipeline": lambda: sd(8, "StableDiffusionInstructPix2PixPipeline"),
    "StableDiffusionXLPipeline": sdxl,
    "StableDiffusionXLInpaintPipeline": lambda: sdxl(9, "StableDiffusionXLInpaintPipeline"),
    "StableDiffusion3Pipeline": sd3,
    "FluxPipeline": flux,
    "FluxKontextPipeline": lambda: flux("FluxKontextPipeline"),
    # The source's latents and the mask come beside the noise: 64 + 64 + 256 channels.
    "FluxFillPipeline": lambda: flux("FluxFillPipeline", 384),
    "Flux2Pipeline": flux2,
    "Flux2KleinPipeline": flux2_klein,
    "QwenImagePipeline": lambda: diffusers.QwenImagePipeline(**qwen_parts()),
    "ZImagePipeline": z_image,
    "HiDreamImagePipeline": hidream,
    "SanaPipeline": sana,
    "SanaSprintPipeline": lambda: sana("SanaSprintPipeline", is_sprint=True),
    "ChromaPipeline": chroma,
    "Lumina2Pipeline": lumina2,
    "PixArtSigmaPipeline": pixart,
    "HunyuanImagePipeline": hunyuan_image,
    "KolorsPipeline": kolors,
    "LatentConsistencyModelPipeline": latent_consistency,
}
"""Family -> function that makes its tiny pipeline."""


def save_tiny(family: str, folder: Path) -> Path:
    """Save a family's tiny pipeline, the same at every call, and return its folder."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        MAKERS[family]().save_pretrained(folder / family, safe_serialization=True)
    return folder / family
