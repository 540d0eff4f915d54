"""A language model that sees, made from a config with random weights: a LLaVA, whose words mean nothing."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from tests.models.tiny.parts import END, PAD, VOCABULARY, WIDTH, tokenizer

SIZE = 32
"""Pixels of a side that it sees."""

PATCH = 8

IMAGE = "<|image_pad|>"
"""Stands for one patch of an image among the tokens."""

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}: "
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}" + IMAGE + "{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant: {% endif %}"
)


def save_llava(folder: Path) -> Path:
    """Save the model, the same at every call, with its processor, and return its folder."""
    vision = transformers.CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=SIZE,
        patch_size=PATCH,
    )
    text = transformers.LlamaConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=4096,
        bos_token_id=None,
        eos_token_id=VOCABULARY.index(END),
        pad_token_id=VOCABULARY.index(PAD),
    )
    config = transformers.LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=VOCABULARY.index(IMAGE),
        vision_feature_layer=-1,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.LlavaForConditionalGeneration(config)
    model.generation_config.update(
        max_new_tokens=48, eos_token_id=VOCABULARY.index(END), pad_token_id=VOCABULARY.index(PAD)
    )
    model.save_pretrained(folder, safe_serialization=True)
    texts = tokenizer(4096)
    texts.chat_template = TEMPLATE
    processor = transformers.LlavaProcessor(
        image_processor=CLIPImageProcessorPil(size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE}),
        tokenizer=texts,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        chat_template=TEMPLATE,
        image_token=IMAGE,
        num_additional_image_tokens=1,
    )
    processor.save_pretrained(folder)
    return folder
