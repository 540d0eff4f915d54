"""Configurations of autoencoders and text encoders, from the shapes of their tensors in a single file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imagemill.models.catalog.single_file.unet import HEAD, Shapes, count


@dataclass(frozen=True, slots=True)
class Latents:
    """Assumptions of a family's denoiser about its latents: numbers that no tensor has."""

    scaling_factor: float
    shift_factor: float | None = None
    size: int = 1024
    """Pixels of a side that it was trained on."""


LATENTS: Mapping[str, Latents] = {
    "sd": Latents(0.18215, size=512),
    "sdxl": Latents(0.13025),
    "sd3": Latents(1.5305, 0.0609),
    "flux": Latents(0.3611, 0.1159),
}
"""By kind of model; from the papers and the configurations that their makers published."""


def autoencoder_config(shapes: Shapes, latents: Latents) -> dict[str, Any]:
    """The arguments of diffusers' AutoencoderKL, in the original layout.

    Raises KeyError where a tensor that it needs is missing.
    """
    levels = count(shapes, "encoder.down.")
    return {
        "_class_name": "AutoencoderKL",
        "act_fn": "silu",
        "block_out_channels": [shapes[f"encoder.down.{level}.block.0.conv1.weight"][0] for level in range(levels)],
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "force_upcast": True,
        "in_channels": 3,
        "latent_channels": shapes["decoder.conv_in.weight"][1],
        "layers_per_block": count(shapes, "encoder.down.0.block."),
        "norm_num_groups": 32,
        "out_channels": 3,
        "sample_size": latents.size,
        "scaling_factor": latents.scaling_factor,
        "shift_factor": latents.shift_factor,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "use_post_quant_conv": "post_quant_conv.weight" in shapes,
        "use_quant_conv": "quant_conv.weight" in shapes,
    }


def clip_config(shapes: Shapes, kind: str, activation: str) -> dict[str, Any]:
    """The configuration of a CLIP text encoder in the layout of transformers: ``embeddings. ...``, ``encoder. ...``.

    ``kind``: its class in transformers. ``activation``: quick_gelu in OpenAI's own, gelu in OpenCLIP's.
    """
    vocabulary, width = shapes["embeddings.token_embedding.weight"]
    return _clip(
        kind,
        vocabulary,
        width,
        hidden_act=activation,
        intermediate_size=shapes["encoder.layers.0.mlp.fc1.weight"][0],
        max_position_embeddings=shapes["embeddings.position_embedding.weight"][0],
        num_hidden_layers=count(shapes, "encoder.layers."),
        projection_dim=shapes.get("text_projection.weight", (width,))[0],
    )


def open_clip_config(shapes: Shapes, kind: str) -> dict[str, Any]:
    """The configuration of a CLIP text encoder in the layout of OpenCLIP: ``transformer.resblocks. ...``.

    Stable Diffusion 2, whose encoder has no projection, reads the last layer but one, so the last is left out.
    """
    vocabulary, width = shapes["token_embedding.weight"]
    has_projection = kind == "CLIPTextModelWithProjection"
    return _clip(
        kind,
        vocabulary,
        width,
        hidden_act="gelu",
        intermediate_size=shapes["transformer.resblocks.0.mlp.c_fc.weight"][0],
        max_position_embeddings=shapes["positional_embedding"][0],
        num_hidden_layers=count(shapes, "transformer.resblocks.") - (not has_projection),
        projection_dim=shapes["text_projection"][1] if has_projection else width,
    )


def _clip(kind: str, vocabulary: int, width: int, **more: Any) -> dict[str, Any]:
    return {
        "architectures": [kind],
        "model_type": "clip_text_model",
        "attention_dropout": 0.0,
        "bos_token_id": 0,
        # A wrong number that all published configurations have: it makes transformers pool at the highest token.
        "eos_token_id": 2,
        "hidden_size": width,
        "layer_norm_eps": 1e-05,
        "num_attention_heads": max(1, width // HEAD),
        "pad_token_id": 1,
        "vocab_size": vocabulary,
        **more,
    }


def t5_config(shapes: Shapes) -> dict[str, Any]:
    """The configuration of T5's encoder, version 1.1, in the layout of transformers."""
    vocabulary, width = shapes["shared.weight"]
    bias = shapes["encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"]
    return {
        "architectures": ["T5EncoderModel"],
        "model_type": "t5",
        "d_ff": shapes["encoder.block.0.layer.1.DenseReluDense.wi_0.weight"][0],
        "d_kv": shapes["encoder.block.0.layer.0.SelfAttention.q.weight"][0] // bias[1],
        "d_model": width,
        "decoder_start_token_id": 0,
        "dropout_rate": 0.1,
        "eos_token_id": 1,
        "feed_forward_proj": "gated-gelu",
        "is_encoder_decoder": False,
        "layer_norm_epsilon": 1e-06,
        "num_heads": bias[1],
        "num_layers": count(shapes, "encoder.block."),
        "pad_token_id": 0,
        "relative_attention_num_buckets": bias[0],
        "tie_word_embeddings": False,
        "vocab_size": vocabulary,
    }
