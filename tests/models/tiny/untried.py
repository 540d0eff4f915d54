"""Tiny pipelines of families that the catalog does not have."""

from __future__ import annotations

from typing import Any

import diffusers
import transformers

from tests.models.tiny.parts import VOCABULARY, WIDTH, flow_scheduler, t5, tokenizer, vae


def chroma() -> Any:
    return diffusers.ChromaPipeline(
        scheduler=flow_scheduler(use_dynamic_shifting=True),
        vae=vae(16),
        text_encoder=t5(),
        tokenizer=tokenizer(512),
        transformer=diffusers.ChromaTransformer2DModel(
            in_channels=64,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            axes_dims_rope=(4, 4, 8),
            approximator_num_channels=16,
            approximator_hidden_dim=32,
            approximator_layers=1,
        ),
    )


def lumina2() -> Any:
    return diffusers.Lumina2Pipeline(
        scheduler=flow_scheduler(),
        vae=vae(16),
        text_encoder=transformers.Gemma2Model(
            transformers.Gemma2Config(
                vocab_size=len(VOCABULARY),
                hidden_size=WIDTH,
                intermediate_size=WIDTH,
                num_hidden_layers=2,
                num_attention_heads=2,
                num_key_value_heads=1,
                head_dim=16,
            )
        ),
        tokenizer=tokenizer(256),
        transformer=diffusers.Lumina2Transformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=16,
            hidden_size=32,
            num_layers=1,
            num_refiner_layers=1,
            num_attention_heads=2,
            num_kv_heads=1,
            multiple_of=16,
            axes_dim_rope=(8, 4, 4),
            axes_lens=(512, 64, 64),
            cap_feat_dim=WIDTH,
        ),
    )


def pixart_sigma() -> Any:
    return diffusers.PixArtSigmaPipeline(
        scheduler=diffusers.DPMSolverMultistepScheduler(),
        vae=vae(4),
        text_encoder=t5(),
        tokenizer=tokenizer(300),
        transformer=diffusers.PixArtTransformer2DModel(
            sample_size=8,
            num_layers=1,
            patch_size=2,
            attention_head_dim=8,
            num_attention_heads=4,
            caption_channels=WIDTH,
            in_channels=4,
            cross_attention_dim=32,
            out_channels=8,
            use_additional_conditions=False,
        ),
    )


UNTRIED = {"ChromaPipeline": chroma, "Lumina2Pipeline": lumina2, "PixArtSigmaPipeline": pixart_sigma}
"""Class -> function that makes its tiny pipeline."""
