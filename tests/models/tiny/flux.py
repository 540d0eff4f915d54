"""Tiny FLUX.1 and FLUX.2."""

from __future__ import annotations

from typing import Any

import diffusers
import transformers

from tests.models.tiny.parts import VOCABULARY, WIDTH, clip, flow_scheduler, qwen3, t5, tokenizer, vae


def flux(kind: str = "FluxPipeline", channels: int = 64) -> Any:
    return getattr(diffusers, kind)(
        scheduler=flow_scheduler(use_dynamic_shifting=True),
        vae=vae(16),
        text_encoder=clip(),
        tokenizer=tokenizer(77),
        text_encoder_2=t5(),
        tokenizer_2=tokenizer(512),
        transformer=diffusers.FluxTransformer2DModel(
            in_channels=channels,
            out_channels=64,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            pooled_projection_dim=WIDTH,
            guidance_embeds=True,
            axes_dims_rope=(4, 4, 8),
        ),
    )


def flux2_parts(guided: bool) -> dict[str, Any]:
    """What the pipelines of FLUX.2 have in common. ``guided``: whether guidance is an input, as in dev."""
    return {
        "scheduler": flow_scheduler(use_dynamic_shifting=True),
        "vae": diffusers.AutoencoderKLFlux2(
            block_out_channels=(8, 8, 8, 8), layers_per_block=1, latent_channels=4, norm_num_groups=1, sample_size=64
        ),
        "transformer": diffusers.Flux2Transformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=3 * WIDTH,
            timestep_guidance_channels=16,
            axes_dims_rope=(4, 4, 4, 4),
            guidance_embeds=guided,
        ),
    }


def flux2_klein() -> Any:
    # The pipeline reads the 27th layer's output.
    encoder = {"text_encoder": qwen3(layers=28), "tokenizer": tokenizer(512)}
    return diffusers.Flux2KleinPipeline(**flux2_parts(guided=False), **encoder, is_distilled=True)


def flux2() -> Any:
    """FLUX.2-dev reads prompts with a vision language model, of which it takes the 30th layer's output."""
    words = tokenizer(512)
    # A message's content is a list of texts; the system's is left out, since it is longer than the prompt's tokens.
    words.chat_template = (
        "{% for message in messages if message['role'] == 'user' %}"
        "{% for part in message['content'] %}{{ part['text'] }}{% endfor %}{% endfor %}"
    )
    encoder = transformers.Mistral3ForConditionalGeneration(
        transformers.Mistral3Config(
            text_config={
                "model_type": "mistral",
                "vocab_size": len(VOCABULARY),
                "hidden_size": WIDTH,
                "intermediate_size": WIDTH,
                "num_hidden_layers": 30,
                "num_attention_heads": 2,
                "num_key_value_heads": 1,
                "head_dim": 16,
            },
            vision_config={
                "model_type": "pixtral",
                "hidden_size": 16,
                "intermediate_size": 16,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "image_size": 32,
                "patch_size": 16,
            },
            image_token_index=VOCABULARY.index("<|image_pad|>"),
        )
    )
    return diffusers.Flux2Pipeline(**flux2_parts(guided=True), text_encoder=encoder, tokenizer=words)
