"""Contents of a single-file checkpoint: its family, and where each part of its pipeline lies in it.

Read from the names and shapes of its tensors, in the layouts of the models' makers, of Civitai and kohya's scripts,
which are the same, and of ComfyUI's saved checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from imagemill.data.errors import RecipeError
from imagemill.data.messages import shown, shown_path
from imagemill.models.catalog.single_file.contents import Checkpoint, FilePart, Scheme, Tokenizer
from imagemill.models.catalog.single_file.foreign import what_else
from imagemill.models.catalog.single_file.header import Header, read_header
from imagemill.models.catalog.single_file.parts import (
    LATENTS,
    autoencoder_config,
    clip_config,
    open_clip_config,
    t5_config,
)
from imagemill.models.catalog.single_file.schedulers import scheduler_config
from imagemill.models.catalog.single_file.transformers import flux_config, sd3_config
from imagemill.models.catalog.single_file.unet import Shapes, is_sd2, is_sdxl, unet_config

SINGLE_FILES = (".safetensors", ".sft")
"""Suffixes of files that may hold a whole model."""

OPTIONAL = ("text_encoder_3",)
"""Parts that a pipeline does without: Stable Diffusion 3 reads prompts with its two other encoders."""

DENOISER_PREFIXES = ("model.diffusion_model.", "diffusion_model.", "")
VAE_PREFIXES = ("first_stage_model.", "vae.")
_TEXT_MODEL = "text_model."


def read_checkpoint(field: str, path: Path) -> Checkpoint:
    """Contents of a file. Raises RecipeError, naming the field, where it is none that can be loaded."""
    state = path.stat()
    return _read(field, path, (state.st_size, state.st_mtime_ns, state.st_ino))


def check_whole(field: str, checkpoint: Checkpoint, given: Iterable[str]) -> None:
    """Raises RecipeError where a file lacks a part that its pipeline needs, and that is not ``given``."""
    if lacking := sorted(set(checkpoint.lacking) - {*OPTIONAL, *given}):
        raise RecipeError(
            f"{field} is {shown_path(checkpoint.path)}, which has no {' and no '.join(lacking)}: only "
            f"{', '.join(sorted(checkpoint.parts))}. Name the others in the step's parts, or a model with all of them."
        )


@lru_cache(maxsize=4)
def _read(field: str, path: Path, state: tuple[int, ...]) -> Checkpoint:
    header = read_header(field, path)
    for prefix in DENOISER_PREFIXES:
        shapes = header.below(prefix)
        for is_one, read in _KINDS:
            if is_one(shapes):
                try:
                    return read(header, prefix, shapes)
                except (KeyError, StopIteration, IndexError, ValueError, ZeroDivisionError) as error:
                    raise RecipeError(
                        f"{field} is {shown_path(path)}, whose layers are not those of any model that imagemill can "
                        f"load from a single file (looked for {shown(str(error))}). Name a folder or repository of it."
                    ) from error
    raise RecipeError(f"{field} is {shown_path(path)}, {what_else(header.tensors)}")


def _is_unet(shapes: Shapes) -> bool:
    return {"input_blocks.0.0.weight", "middle_block.0.in_layers.0.weight", "out.2.weight"} <= set(shapes)


def _is_flux(shapes: Shapes) -> bool:
    return {"double_blocks.0.img_attn.norm.key_norm.scale", "img_in.weight", "vector_in.in_layer.weight"} <= set(shapes)


def _is_sd3(shapes: Shapes) -> bool:
    return {"joint_blocks.0.x_block.attn.qkv.weight", "x_embedder.proj.weight", "pos_embed"} <= set(shapes)


def _stable_diffusion(header: Header, prefix: str, shapes: Shapes) -> Checkpoint:
    unet = unet_config(shapes)
    channels, is_xl = unet["in_channels"], is_sdxl(shapes)
    family = ("StableDiffusionXL" if is_xl else "StableDiffusion") + {9: "Inpaint"}.get(channels, "") + "Pipeline"
    if channels == 8 and not is_xl:
        family = "StableDiffusionInstructPix2PixPipeline"
    if channels not in (4, 8, 9) or (is_xl and (channels == 8 or unet["cross_attention_dim"] == 1280)):
        raise ValueError(f"a UNet of {channels} channels that reads {unet['cross_attention_dim']} numbers a token")
    latents = LATENTS["sdxl" if is_xl else "sd"]
    if is_xl:
        texts = {
            "text_encoder": _clip(header, ("conditioner.embedders.0.transformer.",), "CLIPTextModel", "quick_gelu"),
            "text_encoder_2": _open_clip(header, "conditioner.embedders.1.model.", "CLIPTextModelWithProjection"),
        }
    elif is_sd2(shapes):
        texts = {"text_encoder": _open_clip(header, "cond_stage_model.model.", "CLIPTextModel")}
    else:
        prefixes = ("cond_stage_model.transformer.", "cond_stage_model.clip_l.transformer.")
        texts = {"text_encoder": _clip(header, prefixes, "CLIPTextModel", "quick_gelu")}
    kinds = {"text_encoder": "CLIPTextModel", "text_encoder_2": "CLIPTextModelWithProjection"}
    parts = {"unet": FilePart(prefix, "original", unet), "vae": _vae(header, latents), **texts}
    padding: Tokenizer = "clip, padded with 0" if is_sd2(shapes) else "clip"
    tokenizers: dict[str, Tokenizer] = {"tokenizer": padding}
    if is_xl:
        tokenizers["tokenizer_2"] = "clip, padded with 0"
    return _checkpoint(header, family, parts, kinds, tokenizers, scheduler_config(header, prefix, shapes))


def _flux(header: Header, prefix: str, shapes: Shapes) -> Checkpoint:
    config = flux_config(shapes)
    if config["in_channels"] not in (64, 384):
        raise ValueError(f"a transformer of {config['in_channels']} channels")
    family = "FluxFillPipeline" if config["in_channels"] == 384 else "FluxPipeline"
    parts = {
        "transformer": FilePart(prefix, "original", config),
        "vae": _vae(header, LATENTS["flux"]),
        "text_encoder": _clip(header, ("text_encoders.clip_l.transformer.",), "CLIPTextModel", "quick_gelu"),
        "text_encoder_2": _t5(header),
    }
    kinds = {"text_encoder": "CLIPTextModel", "text_encoder_2": "T5EncoderModel"}
    tokenizers: dict[str, Tokenizer] = {"tokenizer": "clip", "tokenizer_2": "t5"}
    return _checkpoint(header, family, parts, kinds, tokenizers, scheduler_config(header, prefix, shapes))


def _sd3(header: Header, prefix: str, shapes: Shapes) -> Checkpoint:
    projected = "CLIPTextModelWithProjection"
    parts = {
        "transformer": FilePart(prefix, "original", sd3_config(shapes)),
        "vae": _vae(header, LATENTS["sd3"]),
        "text_encoder": _clip(header, ("text_encoders.clip_l.transformer.",), projected, "quick_gelu"),
        "text_encoder_2": _clip(header, ("text_encoders.clip_g.transformer.",), projected, "gelu"),
        "text_encoder_3": _t5(header),
    }
    kinds = {"text_encoder": projected, "text_encoder_2": projected, "text_encoder_3": "T5EncoderModel"}
    tokenizers: dict[str, Tokenizer] = {"tokenizer": "clip", "tokenizer_2": "clip, padded with 0", "tokenizer_3": "t5"}
    return _checkpoint(
        header, "StableDiffusion3Pipeline", parts, kinds, tokenizers, scheduler_config(header, prefix, shapes)
    )


def _checkpoint(
    header: Header,
    family: str,
    parts: Mapping[str, FilePart | None],
    encoders: Mapping[str, str],
    tokenizers: Mapping[str, Tokenizer],
    scheduler: Mapping[str, Any],
) -> Checkpoint:
    """``encoders``: class in transformers of each text encoder."""
    known = {"vae": ("diffusers", "AutoencoderKL"), **{name: ("transformers", kind) for name, kind in encoders.items()}}
    return Checkpoint(
        header.path,
        family,
        {name: part for name, part in parts.items() if part},
        {name: known[name] for name, part in parts.items() if part is None},
        tokenizers,
        scheduler,
        header,
    )


def _vae(header: Header, latents: Any) -> FilePart | None:
    return _first(
        header, VAE_PREFIXES, "decoder.conv_in.weight", "original", partial(autoencoder_config, latents=latents)
    )


def _clip(header: Header, prefixes: tuple[str, ...], kind: str, activation: str) -> FilePart | None:
    """Some files have text_model before its tensors' names, some have not."""
    mark, read = "embeddings.token_embedding.weight", partial(_without_text_model, kind=kind, activation=activation)
    found = _first(header, prefixes, _TEXT_MODEL + mark, "clip", read)
    return found or _first(header, prefixes, mark, "clip", read)


def _without_text_model(shapes: Shapes, kind: str, activation: str) -> dict[str, Any]:
    return clip_config({name.removeprefix(_TEXT_MODEL): shape for name, shape in shapes.items()}, kind, activation)


def _open_clip(header: Header, prefix: str, kind: str) -> FilePart | None:
    return _first(header, (prefix,), "token_embedding.weight", "open_clip", partial(open_clip_config, kind=kind))


def _t5(header: Header) -> FilePart | None:
    return _first(header, ("text_encoders.t5xxl.transformer.",), "shared.weight", "t5", t5_config)


def _first(
    header: Header, prefixes: tuple[str, ...], mark: str, scheme: Scheme, read: Callable[[Shapes], dict[str, Any]]
) -> FilePart | None:
    """The part below the first of these prefixes with a tensor that is named ``mark``; None if there is none."""
    prefix = next((prefix for prefix in prefixes if prefix + mark in header.tensors), None)
    return None if prefix is None else FilePart(prefix, scheme, read(header.below(prefix)))


_KINDS: tuple[tuple[Callable[[Shapes], bool], Callable[[Header, str, Shapes], Checkpoint]], ...] = (
    (_is_unet, _stable_diffusion),
    (_is_flux, _flux),
    (_is_sd3, _sd3),
)
