"""Tiny Kolors: an XL UNet that reads a ChatGLM."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import diffusers
import sentencepiece
import torch
from diffusers.pipelines.kolors import ChatGLMModel, ChatGLMTokenizer
from diffusers.pipelines.kolors.text_encoder import ChatGLMConfig

from tests.models.tiny.parts import CHARACTERS, WIDTH, unet, vae

TOKENS = 128
"""Embeddings of the text encoder: one for each character, and for the tokenizer's special ones."""


def kolors() -> Any:
    return diffusers.KolorsPipeline(
        vae=vae(4),
        text_encoder=_text_encoder(),
        tokenizer=ChatGLMTokenizer(str(Path(_vocabulary().name) / "tokenizer.model")),
        unet=unet(
            cross_attention_dim=WIDTH,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + WIDTH,
            use_linear_projection=True,
            encoder_hid_dim=WIDTH,
            encoder_hid_dim_type="text_proj",
        ),
        scheduler=diffusers.EulerDiscreteScheduler(
            beta_start=0.00085,
            beta_end=0.014,
            beta_schedule="scaled_linear",
            num_train_timesteps=1100,
            steps_offset=1,
            timestep_spacing="leading",
        ),
        # With this setting the pipeline fails where it gets no negative prompt.
        force_zeros_for_empty_prompt=True,
    )


def _text_encoder() -> Any:
    # Empty, its layers have what was in the memory before.
    encoder = ChatGLMModel(
        ChatGLMConfig(
            num_layers=2,
            padded_vocab_size=TOKENS,
            hidden_size=WIDTH,
            ffn_hidden_size=WIDTH,
            kv_channels=16,
            num_attention_heads=2,
            seq_length=256,
            multi_query_attention=True,
            multi_query_group_num=1,
            add_qkv_bias=True,
            original_rope=True,
        ),
        empty_init=False,
    )
    # And so have its norms in any case.
    for name, weight in encoder.named_parameters():
        if "norm" in name:
            torch.nn.init.ones_(weight)
    return encoder


@cache
def _vocabulary() -> TemporaryDirectory[str]:
    """Folder with a sentencepiece model of one token per character, which a tokenizer reads until it is saved."""
    folder, model = TemporaryDirectory(), io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["".join(CHARACTERS), "a fox in the snow"]),
        model_writer=model,
        model_type="char",
        vocab_size=len(CHARACTERS) + 3,
        hard_vocab_limit=False,
        character_coverage=1.0,
        minloglevel=2,
    )
    (Path(folder.name) / "tokenizer.model").write_bytes(model.getvalue())
    return folder
