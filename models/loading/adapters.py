"""What steers a generation beside its prompt: a ControlNet or an IP-Adapter, loaded, and its images in a call."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from imagemill.data.errors import RecipeError
from imagemill.models.catalog.source import ModelSource
from imagemill.models.catalog.spec import ModelSpec

_MUST_AGREE = ("cross_attention_dim", "joint_attention_dim", "addition_embed_type")
"""Fields of a config in which a ControlNet and its model's denoiser agree if they are for each other."""


def load_controlnet(spec: ModelSpec, kind: Any) -> torch.nn.Module:
    """The spec's ControlNet, in host memory. ``kind``: its class. Raises what diffusers raises."""
    found = spec.adapters.controlnet
    return kind.from_pretrained(
        found.source.location,
        subfolder=found.subfolder,
        dtype=getattr(torch, spec.dtype),
        use_safetensors=True,
        **hub_arguments(found.source, spec.cache_dir),
    )


def hub_arguments(source: ModelSource, cache_dir: str | None) -> dict[str, Any]:
    """Arguments of a ``from_pretrained`` that downloads this source."""
    return {"revision": source.commit, "cache_dir": cache_dir, "token": os.environ.get("HF_TOKEN")}


def check_fit(pipeline: Any, spec: ModelSpec) -> None:
    """Raises RecipeError where the spec's ControlNet is for another model than the pipeline's."""
    if spec.adapters.controlnet is None:
        return
    denoiser = getattr(pipeline, "transformer", None) or pipeline.unet
    for name in _MUST_AGREE:
        mine, its = (part.config.get(name) for part in (denoiser, pipeline.controlnet))
        if mine != its:
            raise RecipeError(
                f"the ControlNet {spec.adapters.controlnet.source.location!r} does not fit the model {spec.name!r}: its {name} is {its}, "
                f"and the model's {mine}. Take one that was trained for this model, or leave controlnet out."
            )


def steered_parts(spec: ModelSpec) -> frozenset[str]:
    """Names of the parts that the spec's IP-Adapter changes, or brings."""
    return frozenset({"unet", "image_encoder"}) if spec.adapters.ip_adapter else frozenset()


def ip_adapter_bytes(spec: ModelSpec) -> int:
    """How large the spec's IP-Adapter and its image encoder are on the disk; those of a repository are fetched."""
    if spec.adapters.ip_adapter is None:
        return 0
    folder = _ip_adapter_folder(spec)
    files = [folder / spec.adapters.ip_adapter.file, *(folder / spec.adapters.ip_adapter.encoder).glob("*.safetensors")]
    return sum(path.stat().st_size for path in files)


def load_ip_adapter(pipeline: Any, spec: ModelSpec) -> None:
    """Put the spec's IP-Adapter on a pipeline. Raises RecipeError where it does not fit, or cannot be had."""
    found = spec.adapters.ip_adapter
    if found is None:
        return
    folder = _ip_adapter_folder(spec)
    try:
        # A path with a slash is from the folder's top.
        pipeline.load_ip_adapter(
            str(folder), subfolder="", weight_name=found.file, image_encoder_folder=f"./{found.encoder}"
        )
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        why = " ".join(str(error).split())[:300] or type(error).__name__
        raise RecipeError(
            f"the IP-Adapter {found.name!r} does not fit the model {spec.name!r} ({why}). Take one that was trained "
            "for this model, with its own image encoder, or leave ip_adapter out."
        ) from error


def _ip_adapter_folder(spec: ModelSpec) -> Path:
    """Where its files lie as they do in its repository."""
    found = spec.adapters.ip_adapter
    # One by one, at this commit: load_ip_adapter itself takes the image encoder from the newest.
    for name in (f"{found.encoder}/config.json", f"{found.encoder}/model.safetensors", found.file):
        path = found.source.file("ip_adapter", name, spec.cache_dir)
    return path.parents[found.file.count("/")]
