"""The bundled model's architecture: a Flux pipeline small enough for two CPU cores.

python -m imagemill.models.bundled.architecture FOLDER    # random weights, for tests

One set of components serves both `FluxPipeline` (text to image) and `FluxKontextPipeline` (edits; call it with
`_auto_resize=False, max_area=width * height`). Images are 64x64: the autoencoder makes 8x8 latents of 16 channels,
Flux packs them 2x2, so the transformer sees 16 image tokens of 64 numbers (32 for an edit) and 16 text tokens.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from tokenizers import Tokenizer, pre_tokenizers, processors
from tokenizers.models import WordLevel
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast, T5Config, T5EncoderModel

from imagemill.models.bundled.normalizer import make_normalizer
from imagemill.models.bundled.scenes import IMAGE_SIZE
from imagemill.models.bundled.wording import world_words

TEXT_TOKENS = 16
DEFAULT_STEPS = 4
PAD, UNKNOWN, END = "[PAD]", "[UNK]", "[EOS]"
# [EOS] has the highest number: CLIP reads the sentence there, and some versions find it as the largest token.
VOCABULARY = (PAD, UNKNOWN, *world_words(), END)
PAD_ID, UNKNOWN_ID, END_ID = 0, 1, len(VOCABULARY) - 1
TEXT_WIDTH = 96


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of words, after normalisation: one that it does not know becomes [UNK], text beyond 16 is cut."""
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(VOCABULARY)}, unk_token=UNKNOWN))
    tokenizer.normalizer = make_normalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {END}", special_tokens=[(END, END_ID)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, unk_token=UNKNOWN, eos_token=END, model_max_length=TEXT_TOKENS
    )


def with_newest_words(pipeline: FluxPipeline) -> FluxPipeline:
    """The pipeline with this code's tokenizer: a background's colour begins as the colour's word."""
    known = pipeline.tokenizer.get_vocab()
    rows = torch.tensor([known[word.removeprefix("background_") if word not in known else word] for word in VOCABULARY])
    fresh = make_pipeline()
    for name in ("text_encoder", "text_encoder_2"):
        weights = {
            key: value[rows] if len(value) == len(known) and value.ndim == 2 else value
            for key, value in getattr(pipeline, name).state_dict().items()
        }
        getattr(fresh, name).load_state_dict(weights)
    fresh.register_modules(vae=pipeline.vae, transformer=pipeline.transformer)
    return fresh


def make_pipeline(seed: int = 0) -> FluxPipeline:
    """The bundled model with random weights: the same for the same seed, with no effect on torch's own generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return FluxPipeline(
            # Shifted towards noise: what an image shows is decided there, as the training's noise levels explain.
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=False),
            vae=AutoencoderKL(
                down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4,
                block_out_channels=(16, 24, 48, 64),
                layers_per_block=1,
                latent_channels=16,
                # One group: more of them wash out a plain background's colour, and training takes several times longer.
                norm_num_groups=1,
                sample_size=IMAGE_SIZE,
                scaling_factor=1.0,
                shift_factor=0.0,
                use_quant_conv=False,
                use_post_quant_conv=False,
            ),
            text_encoder=CLIPTextModel(
                CLIPTextConfig(
                    vocab_size=len(VOCABULARY),
                    hidden_size=TEXT_WIDTH,
                    intermediate_size=2 * TEXT_WIDTH,
                    num_hidden_layers=1,
                    num_attention_heads=4,
                    max_position_embeddings=TEXT_TOKENS,
                    projection_dim=TEXT_WIDTH,
                    pad_token_id=PAD_ID,
                    bos_token_id=None,
                    eos_token_id=END_ID,
                )
            ),
            tokenizer=make_tokenizer(),
            text_encoder_2=T5EncoderModel(
                T5Config(
                    vocab_size=len(VOCABULARY),
                    d_model=TEXT_WIDTH,
                    d_kv=TEXT_WIDTH // 4,
                    d_ff=2 * TEXT_WIDTH,
                    num_layers=2,
                    num_heads=4,
                    dropout_rate=0.0,
                    pad_token_id=PAD_ID,
                    eos_token_id=END_ID,
                    is_encoder_decoder=False,
                    use_cache=False,
                )
            ),
            tokenizer_2=make_tokenizer(),
            transformer=FluxTransformer2DModel(
                in_channels=64,
                num_layers=2,
                num_single_layers=4,
                attention_head_dim=32,
                num_attention_heads=6,
                joint_attention_dim=TEXT_WIDTH,
                pooled_projection_dim=TEXT_WIDTH,
                guidance_embeds=False,
                axes_dims_rope=(8, 12, 12),
            ),
        )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    make_pipeline().save_pretrained(folder, safe_serialization=True)
    print(f"Saved a pipeline with random weights to {folder}.")
