"""Tiny Qwen-Image 2.1."""

from __future__ import annotations

from typing import Any

import diffusers
import torch
import transformers

from tests.models.tiny.parts import VOCABULARY, WIDTH, flow_scheduler, tokenizer

CHANNELS = 8
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'][0]['text'] }}<|im_end|>\n"
    "{% endfor %}"
)


class ImagesAlone(transformers.Qwen3VLProcessor):
    """Qwen's processor without its part for videos, which the pipeline does not use and which needs torchvision."""

    def __init__(self, image_processor: Any, tokenizer: Any) -> None:
        for name, token in (("image", "image_pad"), ("video", "video_pad")):
            setattr(self, f"{name}_token", f"<|{token}|>")
            setattr(self, f"{name}_token_id", tokenizer.convert_tokens_to_ids(f"<|{token}|>"))
        transformers.ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=CHAT)


def qwen_image_21(spec: Any, device: torch.device, **settings: Any) -> Any:
    """For IMAGEMILL_PIPELINE: with this processor the pipeline cannot be saved and loaded."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    # Sizes as the published Qwen3-VL has them: one of its image tokens stands for four of the autoencoder's.
    images = Qwen2VLImageProcessorPil(patch_size=16, min_pixels=2**16, max_pixels=2**24)
    torch.manual_seed(0)
    pipeline = diffusers.QwenImage21Pipeline(
        scheduler=flow_scheduler(use_dynamic_shifting=True),
        vae=diffusers.AutoencoderKLQwenImage21(
            base_dim=4,
            decoder_base_dim=None,
            z_dim=CHANNELS,
            dim_mult=[1] * 5,
            num_res_blocks=1,
            temperal_downsample=[False] * 4,
            latents_mean=[0.0] * CHANNELS,
            latents_std=[1.0] * CHANNELS,
        ),
        text_encoder=_text_encoder(),
        processor=ImagesAlone(images, tokenizer(2048)),
        transformer=diffusers.QwenImage21Transformer2DModel(
            in_channels=CHANNELS,
            out_channels=CHANNELS,
            num_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            context_in_dim=WIDTH,
            axes_dims_rope=(4, 6, 6),
        ),
        **settings,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def _text_encoder() -> Any:
    return transformers.Qwen3VLForConditionalGeneration(
        transformers.Qwen3VLConfig(
            text_config={
                "hidden_size": WIDTH,
                "intermediate_size": WIDTH,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "num_key_value_heads": 2,
                "head_dim": 16,
                "vocab_size": len(VOCABULARY),
                "rope_parameters": {
                    "mrope_interleaved": True,
                    "mrope_section": [2, 3, 3],
                    "rope_type": "default",
                    "rope_theta": 1e6,
                },
            },
            vision_config={
                "depth": 1,
                "hidden_size": 16,
                "intermediate_size": 16,
                "num_heads": 2,
                "out_hidden_size": WIDTH,
                "deepstack_visual_indexes": [0],
                "num_position_embeddings": 16,
            },
            image_token_id=VOCABULARY.index("<|image_pad|>"),
            video_token_id=VOCABULARY.index("<|video_pad|>"),
            vision_start_token_id=VOCABULARY.index("<|vision_start|>"),
            vision_end_token_id=VOCABULARY.index("<|vision_end|>"),
        )
    )
