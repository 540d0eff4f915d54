"""Parts that several families have, far smaller than the published ones, with random weights."""

from __future__ import annotations

from typing import Any

import diffusers
import transformers
from tokenizers import Regex, Tokenizer, pre_tokenizers, processors
from tokenizers.models import WordLevel

PAD, UNKNOWN, END = "<|endoftext|>", "<|unknown|>", "<|im_end|>"
SPECIAL = ["<|im_start|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
CHARACTERS = [chr(code) for code in range(32, 127)]
VOCABULARY = [PAD, UNKNOWN, *SPECIAL, *CHARACTERS, END]
TEMPLATE = "{% for message in messages %}<|im_start|>{{ message['content'] }}<|im_end|>{% endfor %}"
WIDTH = 32


def tokenizer(longest: int) -> Any:
    """One token per character, so that a text's tokens can be counted by eye."""
    model = Tokenizer(WordLevel({token: number for number, token in enumerate(VOCABULARY)}, unk_token=UNKNOWN))
    model.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    model.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, VOCABULARY.index(END))]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=model,
        pad_token=PAD,
        unk_token=UNKNOWN,
        eos_token=END,
        additional_special_tokens=SPECIAL,
        model_max_length=longest,
        chat_template=TEMPLATE,
    )


def clip(projected: bool = False, **more: Any) -> Any:
    kind = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    return kind(
        transformers.CLIPTextConfig(
            vocab_size=len(VOCABULARY),
            hidden_size=WIDTH,
            intermediate_size=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            projection_dim=WIDTH,
            bos_token_id=None,
            eos_token_id=len(VOCABULARY) - 1,
            **more,
        )
    )


def t5() -> Any:
    return transformers.T5EncoderModel(
        transformers.T5Config(
            vocab_size=len(VOCABULARY),
            d_model=WIDTH,
            d_kv=8,
            d_ff=WIDTH,
            num_layers=1,
            num_heads=4,
            is_encoder_decoder=False,
        )
    )


def qwen3(layers: int) -> Any:
    return transformers.Qwen3ForCausalLM(
        transformers.Qwen3Config(
            vocab_size=len(VOCABULARY),
            hidden_size=WIDTH,
            intermediate_size=WIDTH,
            num_hidden_layers=layers,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=16,
        )
    )


def vae(channels: int) -> Any:
    return diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        latent_channels=channels,
        norm_num_groups=1,
        sample_size=64,
        **({"use_quant_conv": False, "use_post_quant_conv": False, "shift_factor": 0.0} if channels == 16 else {}),
    )


def unet(channels: int = 4, **more: Any) -> Any:
    return diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=channels,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=2,
        **{"cross_attention_dim": WIDTH, "attention_head_dim": 4, **more},
    )


def flow_scheduler(**more: Any) -> Any:
    return diffusers.FlowMatchEulerDiscreteScheduler(**more)
