"""Tiny pipelines of families that the catalog does not have."""

from __future__ import annotations

from typing import Any

import diffusers

from tests.models.tiny.others import pixart
from tests.models.tiny.parts import WIDTH, flow_scheduler, t5, tokenizer, vae


def aura_flow() -> Any:
    return diffusers.AuraFlowPipeline(
        scheduler=flow_scheduler(),
        vae=vae(4),
        text_encoder=t5(),
        tokenizer=tokenizer(256),
        transformer=diffusers.AuraFlowTransformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=4,
            num_mmdit_layers=1,
            num_single_dit_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            joint_attention_dim=WIDTH,
            caption_projection_dim=32,
            out_channels=4,
            pos_embed_max_size=64,
        ),
    )


UNTRIED = {"AuraFlowPipeline": aura_flow, "PixArtAlphaPipeline": lambda: pixart("PixArtAlphaPipeline", 120)}
"""Class -> function that makes its tiny pipeline."""
