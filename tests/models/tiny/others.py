"""Tiny HiDream, Z-Image, SANA, Chroma, Lumina 2, PixArt and a latent consistency model."""

from __future__ import annotations

from typing import Any

import diffusers
import transformers

from tests.models.tiny.parts import VOCABULARY, WIDTH, clip, flow_scheduler, qwen3, t5, tokenizer, unet, vae


def llama() -> Any:
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=len(VOCABULARY),
            hidden_size=WIDTH,
            intermediate_size=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
        )
    )


def gemma2(layers: int) -> Any:
    return transformers.Gemma2Model(
        transformers.Gemma2Config(
            vocab_size=len(VOCABULARY),
            hidden_size=WIDTH,
            intermediate_size=WIDTH,
            num_hidden_layers=layers,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=16,
        )
    )


def hidream() -> Any:
    """Its autoencoder does not scale down: the pipeline generates as many pixels as there are latents."""
    longer = {"max_position_embeddings": 128}
    flat = {"down_block_types": ("DownEncoderBlock2D",), "up_block_types": ("UpDecoderBlock2D",)}
    return diffusers.HiDreamImagePipeline(
        scheduler=flow_scheduler(),
        vae=diffusers.AutoencoderKL(
            **flat, block_out_channels=(8,), latent_channels=4, norm_num_groups=1, shift_factor=0.0
        ),
        text_encoder=clip(projected=True, **longer),
        tokenizer=tokenizer(128),
        text_encoder_2=clip(projected=True, **longer),
        tokenizer_2=tokenizer(128),
        text_encoder_3=t5(),
        tokenizer_3=tokenizer(512),
        text_encoder_4=llama(),
        tokenizer_4=tokenizer(512),
        transformer=diffusers.HiDreamImageTransformer2DModel(
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            caption_channels=[WIDTH, WIDTH],
            text_emb_dim=2 * WIDTH,
            axes_dims_rope=(4, 2, 2),
            max_resolution=(128, 128),
            llama_layers=[0, 1],
        ),
    )


def z_image() -> Any:
    return diffusers.ZImagePipeline(
        scheduler=flow_scheduler(),
        vae=vae(16),
        text_encoder=qwen3(layers=2),
        tokenizer=tokenizer(512),
        transformer=diffusers.ZImageTransformer2DModel(
            in_channels=16,
            dim=32,
            n_layers=1,
            n_refiner_layers=1,
            n_heads=2,
            n_kv_heads=2,
            cap_feat_dim=WIDTH,
            axes_dims=[4, 6, 6],
            axes_lens=[1024, 32, 32],
        ),
    )


def sana(kind: str = "SanaPipeline", is_sprint: bool = False) -> Any:
    """Sprint is distilled with embedded guidance, and has another scheduler."""
    flow = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    return getattr(diffusers, kind)(
        tokenizer=tokenizer(300),
        text_encoder=gemma2(layers=1),
        vae=diffusers.AutoencoderDC(
            latent_channels=4,
            attention_head_dim=2,
            encoder_block_types=("ResBlock",) * 6,
            decoder_block_types=("ResBlock",) * 6,
            encoder_block_out_channels=(8,) * 6,
            # Sprint generates a megapixel and scales it down.
            decoder_block_out_channels=(4 if is_sprint else 8,) * 6,
            encoder_layers_per_block=(1,) * 6,
            decoder_layers_per_block=(1,) * 6,
            encoder_qkv_multiscales=((),) * 6,
            decoder_qkv_multiscales=((),) * 6,
            decoder_norm_types="rms_norm",
        ),
        transformer=diffusers.SanaTransformer2DModel(
            in_channels=4,
            out_channels=4,
            num_layers=1,
            num_attention_heads=2,
            attention_head_dim=4,
            num_cross_attention_heads=2,
            cross_attention_head_dim=4,
            cross_attention_dim=8,
            caption_channels=WIDTH,
            sample_size=32 if is_sprint else 16,
            guidance_embeds=is_sprint,
            qk_norm="rms_norm_across_heads" if is_sprint else None,
        ),
        scheduler=diffusers.SCMScheduler(prediction_type="trigflow", sigma_data=0.5) if is_sprint else flow,
    )


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
        text_encoder=gemma2(layers=2),
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


def pixart(kind: str = "PixArtSigmaPipeline", longest: int = 300) -> Any:
    return getattr(diffusers, kind)(
        scheduler=diffusers.DPMSolverMultistepScheduler(),
        vae=vae(4),
        text_encoder=t5(),
        tokenizer=tokenizer(longest),
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


def latent_consistency() -> Any:
    return diffusers.LatentConsistencyModelPipeline(
        vae=vae(4),
        text_encoder=clip(),
        tokenizer=tokenizer(77),
        # The guidance is an input of it.
        unet=unet(time_cond_proj_dim=32),
        scheduler=diffusers.LCMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
