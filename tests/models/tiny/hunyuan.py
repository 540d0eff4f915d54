"""Tiny HunyuanImage, with guiders and distilled."""

from __future__ import annotations

from typing import Any

import diffusers
import torch

from tests.models.tiny.parts import WIDTH, flow_scheduler, t5, tokenizer
from tests.models.tiny.qwen import qwen_parts


def hunyuan_image(is_distilled: bool = False) -> Any:
    """Distilled, guidance is an input of the transformer; otherwise two guiders make it, one for texts in quotes."""
    guiders = {}
    if not is_distilled:
        for name in ("guider", "ocr_guider"):
            guiders[name] = diffusers.AdaptiveProjectedMixGuidance(
                guidance_scale=3.5,
                adaptive_projected_guidance_scale=10.0,
                adaptive_projected_guidance_momentum=-0.5,
                adaptive_projected_guidance_start_step=1,
            )
    pipeline = diffusers.HunyuanImagePipeline(
        scheduler=flow_scheduler(shift=7.0),
        vae=diffusers.AutoencoderKLHunyuanImage(
            in_channels=3,
            out_channels=3,
            latent_channels=4,
            block_out_channels=(32, 32, 32, 32, 32, 32),
            layers_per_block=1,
            spatial_compression_ratio=32,
            sample_size=64,
            scaling_factor=0.75,
        ),
        # The pipeline reads the output of the last layer but two.
        text_encoder=qwen_parts(layers=3)["text_encoder"],
        tokenizer=tokenizer(2048),
        text_encoder_2=t5(),
        tokenizer_2=tokenizer(128),
        transformer=diffusers.HunyuanImageTransformer2DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=16,
            num_layers=1,
            num_single_layers=1,
            num_refiner_layers=1,
            guidance_embeds=is_distilled,
            text_embed_dim=WIDTH,
            text_embed_2_dim=WIDTH,
            rope_axes_dim=(8, 8),
            use_meanflow=is_distilled,
        ),
        **guiders,
    )
    # Random embeddings are so short that the transformer's biases would hide them.
    with torch.no_grad():
        pipeline.text_encoder.get_input_embeddings().weight.mul_(50)
    return pipeline
