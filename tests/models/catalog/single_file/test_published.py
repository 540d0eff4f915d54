"""The configuration that is read from a single file's shapes is the one that its makers published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import diffusers
import pytest
import torch
import transformers

from imagemill.models.catalog.single_file.folder import write_tokenizer
from imagemill.models.catalog.single_file.parts import (
    LATENTS,
    autoencoder_config,
    clip_config,
    open_clip_config,
    t5_config,
)
from imagemill.models.catalog.single_file.transformers import flux_config, sd3_config
from imagemill.models.catalog.single_file.unet import unet_config
from tests.models.tiny.original_layout import flux_names, open_clip_names, sd3_names, unet_names, vae_names

pytestmark = pytest.mark.slow

TEXT, PLAIN = "CrossAttnDownBlock2D", "DownBlock2D"
UP = {TEXT: "CrossAttnUpBlock2D", PLAIN: "UpBlock2D"}
UNETS: dict[str, dict[str, Any]] = {
    "sd-1.5": {
        "attention_head_dim": 8,
        "block_out_channels": [320, 640, 1280, 1280],
        "cross_attention_dim": 768,
        "down_block_types": [TEXT, TEXT, TEXT, PLAIN],
    },
    "sd-2.1": {
        "attention_head_dim": [5, 10, 20, 20],
        "block_out_channels": [320, 640, 1280, 1280],
        "cross_attention_dim": 1024,
        "down_block_types": [TEXT, TEXT, TEXT, PLAIN],
        "use_linear_projection": True,
        "upcast_attention": True,
    },
    "sdxl": {
        "attention_head_dim": [5, 10, 20],
        "block_out_channels": [320, 640, 1280],
        "cross_attention_dim": 2048,
        "down_block_types": [PLAIN, TEXT, TEXT],
        "transformer_layers_per_block": [1, 2, 10],
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
}
FLUX = {
    "attention_head_dim": 128,
    "in_channels": 64,
    "joint_attention_dim": 4096,
    "num_attention_heads": 24,
    "num_layers": 19,
    "num_single_layers": 38,
    "pooled_projection_dim": 768,
}
SD3 = {
    "sd3-medium": {
        "num_attention_heads": 24,
        "num_layers": 24,
        "caption_projection_dim": 1536,
        "pos_embed_max_size": 192,
    },
    "sd-3.5-large": {
        "num_attention_heads": 38,
        "num_layers": 38,
        "caption_projection_dim": 2432,
        "pos_embed_max_size": 192,
        "qk_norm": "rms_norm",
    },
    "sd-3.5-medium": {
        "num_attention_heads": 24,
        "num_layers": 24,
        "caption_projection_dim": 1536,
        "pos_embed_max_size": 384,
        "qk_norm": "rms_norm",
        "dual_attention_layers": list(range(13)),
    },
}


def shapes(tensors: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def read_back(kind: Any, published: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Both make the same model: each argument is equal, or both leave it to its default."""
    wanted, read = (dict(kind.from_config(dict(config)).config) for config in (published, found))
    ignored = ("_use_default_values", "sample_size", "_class_name", "_diffusers_version")
    plain = [
        {name: _plain(value) for name, value in config.items() if name not in ignored} for config in (wanted, read)
    ]
    assert plain[0] == plain[1]


def _plain(value: Any) -> Any:
    """One number of layers is the same as as many at each resolution."""
    value = list(value) if isinstance(value, tuple) else value
    return value[0] if isinstance(value, list) and value and value == value[:1] * len(value) else value


@pytest.mark.parametrize("name", UNETS)
def test_a_unet(name: str):
    published = UNETS[name] | {"up_block_types": [UP[kind] for kind in reversed(UNETS[name]["down_block_types"])]}
    with torch.device("meta"):
        unet = diffusers.UNet2DConditionModel(**published)
        read_back(type(unet), published, unet_config(shapes(unet_names(unet.state_dict(), 2))))


@pytest.mark.parametrize("guided", [True, False])
def test_a_transformer_of_flux(guided: bool):
    published = FLUX | {"guidance_embeds": guided}
    with torch.device("meta"):
        model = diffusers.FluxTransformer2DModel(**published)
        found = flux_config(shapes(flux_names(model.state_dict())))
        read_back(type(model), published | {"out_channels": 64}, found)


@pytest.mark.parametrize("name", SD3)
def test_a_transformer_of_stable_diffusion_3(name: str):
    more = {"attention_head_dim": 64, "in_channels": 16, "joint_attention_dim": 4096, "pooled_projection_dim": 2048}
    with torch.device("meta"):
        model = diffusers.SD3Transformer2DModel(**SD3[name] | more)
        read_back(type(model), SD3[name] | more, sd3_config(shapes(sd3_names(model.state_dict()))))


@pytest.mark.parametrize(
    ("kind", "channels", "scale", "shift"),
    [("sd", 4, 0.18215, None), ("sdxl", 4, 0.13025, None), ("sd3", 16, 1.5305, 0.0609), ("flux", 16, 0.3611, 0.1159)],
)
def test_an_autoencoder(kind: str, channels: int, scale: float, shift: float | None):
    published = {
        "block_out_channels": [128, 256, 512, 512],
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "layers_per_block": 2,
        "latent_channels": channels,
        "scaling_factor": scale,
        "shift_factor": shift,
        "use_quant_conv": channels == 4,
        "use_post_quant_conv": channels == 4,
    }
    with torch.device("meta"):
        vae = diffusers.AutoencoderKL(**published)
        read_back(type(vae), published, autoencoder_config(shapes(vae_names(vae.state_dict())), LATENTS[kind]))


CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
CLIP_H = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23, "num_attention_heads": 16}
CLIP_G = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20}


def test_clips_text_encoders():
    plain, projected = "CLIPTextModel", "CLIPTextModelWithProjection"
    with torch.device("meta"):
        large = transformers.CLIPTextModel(transformers.CLIPTextConfig(**CLIP_L))
        huge = transformers.CLIPTextModel(transformers.CLIPTextConfig(**CLIP_H))
        giant = transformers.CLIPTextModelWithProjection(transformers.CLIPTextConfig(**CLIP_G, projection_dim=1280))
        found = {
            "large": clip_config(
                {name.removeprefix("text_model."): shape for name, shape in shapes(large.state_dict()).items()},
                plain,
                "quick_gelu",
            ),
            "huge": open_clip_config(shapes(open_clip_names(huge.state_dict(), extra_layers=1)), plain),
            "giant": open_clip_config(shapes(open_clip_names(giant.state_dict())), projected),
        }
    for name, published in (("large", CLIP_L), ("huge", CLIP_H), ("giant", CLIP_G)):
        assert {key: found[name][key] for key in published} == published
        assert found[name]["vocab_size"] == 49408
        assert found[name]["max_position_embeddings"] == 77
    assert (found["giant"]["projection_dim"], found["giant"]["hidden_act"]) == (1280, "gelu")


def test_t5():
    published = {"d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64, "vocab_size": 32128}
    config = transformers.T5Config(**published, feed_forward_proj="gated-gelu", is_encoder_decoder=False)
    with torch.device("meta"):
        found = t5_config(shapes(transformers.T5EncoderModel(config).state_dict()))
    assert {key: found[key] for key in published} == published


def test_the_words_are_those_of_clip_and_t5(tmp_path):
    """The numbers are the ones that the published tokenizers give."""
    ids = {}
    for kind, loader in (
        ("clip", transformers.CLIPTokenizer),
        ("clip, padded with 0", transformers.CLIPTokenizer),
        ("t5", transformers.T5TokenizerFast),
    ):
        folder = tmp_path / kind.replace(" ", "-")
        folder.mkdir()
        write_tokenizer(folder, kind)
        words = loader.from_pretrained(folder)
        longest = 77 if kind != "t5" else 512
        assert words.model_max_length == longest
        ids[kind] = words("A photo of a cat", padding="max_length", max_length=10).input_ids
    assert ids["clip"] == [49406, 320, 1125, 539, 320, 2368, 49407, 49407, 49407, 49407]
    assert ids["clip, padded with 0"] == [49406, 320, 1125, 539, 320, 2368, 49407, 0, 0, 0]
    assert ids["t5"] == [71, 1202, 13, 3, 9, 1712, 1, 0, 0, 0]
