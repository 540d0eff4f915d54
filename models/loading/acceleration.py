"""Acceleration of a pipeline by a recipe's speed settings: compiled blocks, attention backends, step caches.

All settings except the two row caches change pixels, so they are part of a model's identity (data/config/speed.py), and
pipelines with different settings share no parts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from imagemill.data.config.speed import Speed
from imagemill.data.errors import BuildFailed, RecipeError
from imagemill.data.messages import shown
from imagemill.models.cache_dir import cache_folder
from imagemill.models.loading.caches.source_cache import cache_sources
from imagemill.models.loading.caches.text_cache import cache_texts
from imagemill.models.loading.load_errors import first_line, is_out_of_memory, is_sticky

# diffusers puts an underscore before the names of backends that need a certain GPU or build.
_BACKENDS = {"cudnn": "_native_cudnn", "flash_3": "_flash_3", "flash_3_hub": "_flash_3_hub"}

TAYLOR_INTERVAL = 3
"""TaylorSeer computes one step in this many and predicts the others. Its paper uses 3 to 6."""

TAYLOR_FIRST = 2
"""Steps that are computed before the first prediction: a slope needs two."""

FIRST_BLOCK_THRESHOLD = 0.05
"""Change of the first block's output below which a step is reused; diffusers' default."""

MAX_GRAPHS = 64
"""Compiled graphs of one kind of block in a worker: one for each shape of a call. torch's default is 8."""


def speed_up(pipeline: Any, speed: Speed, model: str, texts_vary: bool = False) -> Any:
    """Apply speed settings to a pipeline in place. Raises RecipeError for one that it, or this machine, cannot do.

    ``texts_vary``: whether the length of what it makes of a text depends on the text.
    """
    if speed.remember_texts:
        cache_texts(pipeline)
    if speed.remember_sources:
        cache_sources(pipeline)
    denoiser = denoiser_of(pipeline)
    if denoiser is None:
        return pipeline
    if speed.fuse_qkv:
        _apply(model, "fuse_qkv", lambda: denoiser.fuse_qkv_projections())
    if speed.attention != "auto":
        backend = _BACKENDS.get(speed.attention, speed.attention)
        _apply(model, f"attention: {speed.attention}", lambda: denoiser.set_attention_backend(backend))
    if speed.channels_last and getattr(pipeline, "vae", None) is not None:
        _apply(model, "channels_last", lambda: pipeline.vae.to(memory_format=torch.channels_last))
    if speed.compile:
        # Cached between runs, so that only the first build compiles.
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder("compiled")))
        # Past the limit torch runs a model uncompiled, so that a row's bits depend on what its worker did before.
        torch._dynamo.config.recompile_limit = MAX_GRAPHS
        torch._dynamo.config.fail_on_recompile_limit_hit = True
        # With sizes as constants each length would be a graph; with sizes as variables one graph serves them all.
        _apply(model, "compile", lambda: denoiser.compile_repeated_blocks(dynamic=texts_vary))
    return pipeline


@contextmanager
def within_graph_limit(speed: Speed, model: str) -> Iterator[None]:
    """Raises BuildFailed, with what to do, where the block needs one compiled graph more than the limit."""
    if not speed.compile:
        yield
        return
    from torch._dynamo.exc import FailOnRecompileLimitHit

    try:
        yield
    except FailOnRecompileLimitHit as error:
        raise BuildFailed(
            f"the model {shown(model)} has {torch._dynamo.config.recompile_limit} compiled graphs in this worker, and "
            "an image needs another: each image size and batch size is one. Uncompiled it would have other bits. Build "
            "again to continue with new workers; or use fewer sizes, or set the step's speed.compile to false."
        ) from error


def forget_graphs(speed: Speed) -> None:
    """Give back the places of the graphs compiled so far. One that is needed again is in the cache on disk."""
    if speed.compile:
        torch._dynamo.reset()


def cache_steps(pipeline: Any, speed: Speed, model: str, steps: int) -> None:
    """Set up the step cache for a call of this many steps; call it before every call."""
    if speed.step_cache == "none":
        return
    denoiser = denoiser_of(pipeline)
    # MagCache's ratios are scaled to the number of steps; the pipeline itself resets the other caches.
    if getattr(denoiser, "_imagemill_steps", None) == steps:
        return
    if getattr(denoiser, "is_cache_enabled", False):
        denoiser.disable_cache()
    config = _config(speed, denoiser, model, steps)
    _apply(model, f"step_cache: {speed.step_cache}", lambda: denoiser.enable_cache(config))
    denoiser._imagemill_steps = steps


def _config(speed: Speed, denoiser: Any, model: str, steps: int) -> Any:
    from diffusers.hooks import FirstBlockCacheConfig, MagCacheConfig, TaylorSeerCacheConfig
    from diffusers.hooks.mag_cache import FLUX_MAG_RATIOS

    match speed.step_cache:
        case "first_block":
            return FirstBlockCacheConfig(threshold=FIRST_BLOCK_THRESHOLD)
        case "taylorseer":
            return TaylorSeerCacheConfig(cache_interval=TAYLOR_INTERVAL, disable_cache_before_step=TAYLOR_FIRST)
    if not type(denoiser).__name__.startswith("Flux"):
        raise RecipeError(
            f"the model {shown(model)} has no ratios for speed.step_cache 'magcache', which are known for FLUX.1 only: "
            "take 'taylorseer' or 'first_block'."
        )
    return MagCacheConfig(mag_ratios=FLUX_MAG_RATIOS, num_inference_steps=steps)


def denoiser_of(pipeline: Any) -> Any:
    """The part that runs at every step: a transformer or a UNet."""
    return getattr(pipeline, "transformer", None) or getattr(pipeline, "unet", None)


def _apply(model: str, setting: str, apply: Callable[[], Any]) -> None:
    try:
        apply()
    except RecipeError:
        raise
    except Exception as error:
        if is_out_of_memory(error) or is_sticky(error):
            raise
        raise RecipeError(
            f"the model {shown(model)} cannot generate with speed.{setting} on this machine: {first_line(error)}. "
            "Leave it out."
        ) from error
