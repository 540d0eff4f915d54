"""Tiny Stable Diffusion 1.5, XL and 3."""

from __future__ import annotations

from typing import Any

import diffusers
import transformers

from tests.models.tiny.parts import VOCABULARY, WIDTH, clip, flow_scheduler, tokenizer, unet, vae


def sd(channels: int = 4, kind: str = "StableDiffusionPipeline") -> Any:
    return getattr(diffusers, kind)(
        vae=vae(4),
        text_encoder=clip(),
        tokenizer=tokenizer(77),
        unet=unet(channels),
        scheduler=diffusers.PNDMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl(channels: int = 4, kind: str = "StableDiffusionXLPipeline") -> Any:
    return getattr(diffusers, kind)(
        vae=vae(4),
        text_encoder=clip(),
        text_encoder_2=clip(projected=True),
        tokenizer=tokenizer(77),
        tokenizer_2=tokenizer(77),
        unet=unet(
            channels,
            cross_attention_dim=2 * WIDTH,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + WIDTH,
            use_linear_projection=True,
        ),
        scheduler=diffusers.EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
        ),
    )


def sd3() -> Any:
    return diffusers.StableDiffusion3Pipeline(
        transformer=diffusers.SD3Transformer2DModel(
            sample_size=8,
            in_channels=16,
            out_channels=16,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            joint_attention_dim=2 * WIDTH,
            caption_projection_dim=32,
            pooled_projection_dim=2 * WIDTH,
        ),
        scheduler=flow_scheduler(),
        vae=vae(16),
        text_encoder=clip(projected=True),
        tokenizer=tokenizer(77),
        text_encoder_2=clip(projected=True),
        tokenizer_2=tokenizer(77),
        text_encoder_3=transformers.T5EncoderModel(
            transformers.T5Config(
                vocab_size=len(VOCABULARY), d_model=2 * WIDTH, d_kv=8, d_ff=WIDTH, num_layers=1, num_heads=4
            )
        ),
        tokenizer_3=tokenizer(512),
    )
