"""Tiny pipelines of Stable Diffusion and FLUX.1, and the single files that their makers would publish of them.

A single file's configuration can be read from their widths: heads of 64 or 128, CLIP's and T5's own words.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import diffusers
import torch
import transformers
from safetensors.torch import save_file

from imagemill.models.catalog.single_file.folder import write_tokenizer
from tests.models.tiny.original_layout import flux_names, open_clip_names, sd3_names, unet_names, vae_names

WIDTH = 64
_NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}


def sd15(channels: int = 4, kind: str = "StableDiffusionPipeline") -> Any:
    return _stable_diffusion(kind, channels, WIDTH, heads=8, linear=False)


def sd2() -> Any:
    """Its text encoder is OpenCLIP's, without the last layer. It predicts velocities."""
    return _stable_diffusion("StableDiffusionPipeline", 4, 1024, heads=(1, 2), linear=True, velocity=True)


def sdxl(channels: int = 4, kind: str = "StableDiffusionXLPipeline") -> Any:
    second = _clip(2 * WIDTH, "gelu", projected=True)
    return getattr(diffusers, kind)(
        vae=_vae(4, 0.13025),
        text_encoder=_clip(WIDTH, "quick_gelu"),
        text_encoder_2=second,
        tokenizer=_words("clip"),
        tokenizer_2=_words("clip, padded with 0"),
        unet=_unet(
            channels,
            3 * WIDTH,
            (1, 2),
            True,
            transformer_layers_per_block=[1, 2],
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=6 * 256 + 2 * WIDTH,
        ),
        scheduler=diffusers.EulerDiscreteScheduler(**_NOISE, timestep_spacing="leading"),
    )


def sd3() -> Any:
    inner = 64
    return diffusers.StableDiffusion3Pipeline(
        transformer=diffusers.SD3Transformer2DModel(
            sample_size=128,
            in_channels=16,
            out_channels=16,
            num_layers=2,
            attention_head_dim=64,
            num_attention_heads=inner // 64,
            joint_attention_dim=3 * WIDTH,
            caption_projection_dim=inner,
            pooled_projection_dim=3 * WIDTH,
            pos_embed_max_size=24,
            dual_attention_layers=(0,),
            qk_norm="rms_norm",
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_vae(16, 1.5305, 0.0609),
        text_encoder=_clip(WIDTH, "quick_gelu", projected=True),
        tokenizer=_words("clip"),
        text_encoder_2=_clip(2 * WIDTH, "gelu", projected=True),
        tokenizer_2=_words("clip, padded with 0"),
        text_encoder_3=_t5(3 * WIDTH),
        tokenizer_3=_words("t5"),
    )


def flux(guided: bool = True) -> Any:
    """``guided``: dev, else schnell."""
    flow = {"use_dynamic_shifting": True, "shift": 3.0} if guided else {"shift": 1.0}
    return diffusers.FluxPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(**flow),
        vae=_vae(16, 0.3611, 0.1159),
        text_encoder=_clip(WIDTH, "quick_gelu"),
        tokenizer=_words("clip"),
        text_encoder_2=_t5(WIDTH),
        tokenizer_2=_words("t5"),
        transformer=diffusers.FluxTransformer2DModel(
            in_channels=64,
            num_layers=1,
            num_single_layers=2,
            attention_head_dim=128,
            num_attention_heads=1,
            joint_attention_dim=WIDTH,
            pooled_projection_dim=WIDTH,
            guidance_embeds=guided,
        ),
    )


SINGLE_FILES: dict[str, Callable[[], Any]] = {
    "sd-1.5": sd15,
    "sd-1.5 inpainting": lambda: sd15(9, "StableDiffusionInpaintPipeline"),
    "instruct-pix2pix": lambda: sd15(8, "StableDiffusionInstructPix2PixPipeline"),
    "sd-2": sd2,
    "sdxl": sdxl,
    "sdxl inpainting": lambda: sdxl(9, "StableDiffusionXLInpaintPipeline"),
    "sd3": sd3,
    "flux dev": flux,
    "flux schnell": lambda: flux(guided=False),
}
"""Kind of model -> function that makes its tiny pipeline."""


def make(kind: str) -> Any:
    """The same at every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SINGLE_FILES[kind]()


def original_tensors(pipeline: Any) -> dict[str, torch.Tensor]:
    """A pipeline's tensors as a single file names them: with a UNet Civitai's and kohya's, else ComfyUI's."""
    parts = {name: part.state_dict() for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}
    found: dict[str, dict[str, torch.Tensor]] = {}
    is_sd, is_xl = "unet" in parts, "StableDiffusionXL" in type(pipeline).__name__
    if is_sd:
        found["model.diffusion_model."] = unet_names(parts["unet"], pipeline.unet.config.layers_per_block)
        found["first_stage_model."] = vae_names(parts["vae"])
    else:
        is_flux = "Flux" in type(pipeline).__name__
        found["model.diffusion_model."] = (flux_names if is_flux else sd3_names)(parts["transformer"])
        found["vae." if is_flux else "first_stage_model."] = vae_names(parts["vae"])
    first = {f"text_model.{name.removeprefix('text_model.')}": tensor for name, tensor in parts["text_encoder"].items()}
    first = {name.replace("text_model.text_projection", "text_projection"): tensor for name, tensor in first.items()}
    if is_xl:
        found["conditioner.embedders.0.transformer."] = first
        found["conditioner.embedders.1.model."] = open_clip_names(parts["text_encoder_2"])
    elif is_sd and pipeline.unet.config.cross_attention_dim == 1024:
        found["cond_stage_model.model."] = open_clip_names(parts["text_encoder"], extra_layers=1)
    elif is_sd:
        found["cond_stage_model.transformer."] = first
    else:
        found["text_encoders.clip_l.transformer."] = first
        if "text_encoder_3" in parts:
            found["text_encoders.clip_g.transformer."] = parts["text_encoder_2"]
        found["text_encoders.t5xxl.transformer."] = parts.get("text_encoder_3", parts["text_encoder_2"])
    return {prefix + name: tensor for prefix, part in found.items() for name, tensor in part.items()}


def save_single_file(path: Path, pipeline: Any, **metadata: str) -> Path:
    """A pipeline as a single file. ``metadata``: of its header."""
    tensors = original_tensors(pipeline)
    save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, path, metadata or None)
    return path


def _stable_diffusion(kind: str, channels: int, words: int, heads: Any, linear: bool, velocity: bool = False) -> Any:
    noise = {**_NOISE, "set_alpha_to_one": False, "prediction_type": "v_prediction" if velocity else "epsilon"}
    more = {"clip_sample": False} if velocity else {"skip_prk_steps": True}
    return getattr(diffusers, kind)(
        vae=_vae(4, 0.18215),
        text_encoder=_clip(words, "gelu" if linear else "quick_gelu", layers=1 if linear else 2),
        tokenizer=_words("clip, padded with 0" if linear else "clip"),
        unet=_unet(channels, words, heads, linear, **({"upcast_attention": True} if linear else {})),
        scheduler=(diffusers.DDIMScheduler if velocity else diffusers.PNDMScheduler)(**noise, **more),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _unet(channels: int, words: int, heads: Any, linear: bool, **more: Any) -> Any:
    is_xl = "addition_embed_type" in more
    kinds = ("DownBlock2D", "CrossAttnDownBlock2D"), ("CrossAttnUpBlock2D", "UpBlock2D")
    if not is_xl:
        kinds = ("CrossAttnDownBlock2D", "DownBlock2D"), ("UpBlock2D", "CrossAttnUpBlock2D")
    return diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=channels,
        out_channels=4,
        block_out_channels=(64, 128),
        layers_per_block=1,
        down_block_types=kinds[0],
        up_block_types=kinds[1],
        cross_attention_dim=words,
        attention_head_dim=heads,
        use_linear_projection=linear,
        **more,
    )


def _vae(channels: int, scale: float, shift: float | None = None) -> Any:
    return diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(32, 32, 32, 64),
        layers_per_block=1,
        latent_channels=channels,
        scaling_factor=scale,
        shift_factor=shift,
        use_quant_conv=channels == 4,
        use_post_quant_conv=channels == 4,
    )


def _clip(width: int, activation: str, projected: bool = False, layers: int = 2) -> Any:
    kind = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    return kind(
        transformers.CLIPTextConfig(
            hidden_size=width,
            intermediate_size=64,
            num_hidden_layers=layers,
            num_attention_heads=max(1, width // 64),
            projection_dim=width,
            hidden_act=activation,
            bos_token_id=0,
            eos_token_id=2,
            pad_token_id=1,
        )
    )


def _t5(width: int) -> Any:
    return transformers.T5EncoderModel(
        transformers.T5Config(
            d_model=width,
            d_kv=16,
            d_ff=64,
            num_layers=2,
            num_heads=4,
            feed_forward_proj="gated-gelu",
            is_encoder_decoder=False,
            tie_word_embeddings=False,
        )
    )


def _words(kind: Any) -> Any:
    """A tokenizer with the words that ship with imagemill."""
    with TemporaryDirectory() as folder:
        write_tokenizer(Path(folder), kind)
        loader = transformers.T5TokenizerFast if kind == "t5" else transformers.CLIPTokenizer
        return loader.from_pretrained(folder)
