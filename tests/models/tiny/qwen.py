"""Tiny Qwen-Image and Qwen-Image-Edit."""

from __future__ import annotations

from typing import Any

import diffusers
import torch
import transformers

from tests.models.tiny.parts import TEMPLATE, VOCABULARY, WIDTH, flow_scheduler, tokenizer


def qwen_parts(halvings: int = 3, layers: int = 1) -> dict[str, Any]:
    """The autoencoder scales an image down by 2 to the power of ``halvings``; ``layers``: of the text encoder."""
    channels = 16
    return {
        "scheduler": flow_scheduler(use_dynamic_shifting=True, shift_terminal=0.02),
        "vae": diffusers.AutoencoderKLQwenImage(
            base_dim=4,
            z_dim=channels,
            dim_mult=[1] * (halvings + 1),
            temperal_downsample=[False] * halvings,
            num_res_blocks=1,
        ),
        "text_encoder": transformers.Qwen2_5_VLForConditionalGeneration(
            transformers.Qwen2_5_VLConfig(
                text_config={
                    "hidden_size": WIDTH,
                    "intermediate_size": WIDTH,
                    "num_hidden_layers": layers,
                    "num_attention_heads": 2,
                    "num_key_value_heads": 2,
                    "vocab_size": len(VOCABULARY),
                    "rope_parameters": {
                        "mrope_section": [2, 3, 3],
                        "rope_type": "default",
                        "type": "default",
                        "rope_theta": 1e6,
                    },
                },
                vision_config={
                    "depth": 1,
                    "hidden_size": 16,
                    "intermediate_size": 16,
                    "num_heads": 2,
                    "out_hidden_size": WIDTH,
                },
                vocab_size=len(VOCABULARY),
                image_token_id=VOCABULARY.index("<|image_pad|>"),
                video_token_id=VOCABULARY.index("<|video_pad|>"),
                vision_start_token_id=VOCABULARY.index("<|vision_start|>"),
                vision_end_token_id=VOCABULARY.index("<|vision_end|>"),
            )
        ),
        "tokenizer": tokenizer(2048),
        "transformer": diffusers.QwenImageTransformer2DModel(
            in_channels=4 * channels,
            out_channels=channels,
            num_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            axes_dims_rope=(4, 6, 6),
        ),
    }


class ImagesAlone(transformers.Qwen2VLProcessor):
    """Qwen's processor without its part for videos, which no pipeline here uses and which needs torchvision."""

    def __init__(self, image_processor: Any, tokenizer: Any) -> None:
        self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
        self.image_token_id, self.video_token_id = map(
            tokenizer.convert_tokens_to_ids, ("<|image_pad|>", "<|video_pad|>")
        )
        transformers.ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=TEMPLATE)


def qwen_edit(spec: Any, device: torch.device) -> Any:
    """For IMAGEMILL_PIPELINE: with this processor the pipeline cannot be saved and loaded."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    # A few image tokens only: what an image costs the text encoder grows with their number.
    processor = ImagesAlone(Qwen2VLImageProcessorPil(min_pixels=28 * 28, max_pixels=56 * 56), tokenizer(2048))
    torch.manual_seed(0)
    # The pipelines scale every source to a megapixel, which takes long unless the autoencoder shrinks it more.
    pipeline = getattr(diffusers, spec.pipeline)(**qwen_parts(halvings=5), processor=processor)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)
