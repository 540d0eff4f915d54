"""Loaders of the adapters that steer a model by an image: ControlNet and IP-Adapter."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from imagemill.data.errors import RecipeError
from imagemill.data.messages import shown, shown_path
from imagemill.models.catalog.source import ModelSource
from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.catalog.weight_files import part_variant
from imagemill.models.loading.weights_report import complete_weights

_MUST_AGREE = ("cross_attention_dim", "joint_attention_dim", "addition_embed_type")
"""Config fields that are equal in a ControlNet and the denoiser it was trained for."""


def load_controlnet(spec: ModelSpec, kind: Any) -> torch.nn.Module:
    """Load the spec's ControlNet into host memory. ``kind``: its class. Raises diffusers' errors."""
    controlnet = spec.adapters.controlnet
    return kind.from_pretrained(
        controlnet.source.location,
        subfolder=controlnet.subfolder,
        dtype=getattr(torch, spec.dtype),
        use_safetensors=True,
        variant=part_variant(Path(controlnet.source.location)) if controlnet.source.files else None,
        **hub_arguments(controlnet.source, spec.cache_dir),
    )


def hub_arguments(source: ModelSource, cache_dir: str | None) -> dict[str, Any]:
    """Arguments of a ``from_pretrained`` that downloads this source."""
    return {"revision": source.commit, "cache_dir": cache_dir, "token": os.environ.get("HF_TOKEN")}


def check_fit(pipeline: Any, spec: ModelSpec) -> None:
    """Raises RecipeError where the spec's ControlNet was trained for another model."""
    controlnet = spec.adapters.controlnet
    if controlnet is None:
        return
    denoiser = getattr(pipeline, "transformer", None) or pipeline.unet
    for name in _MUST_AGREE:
        models, its = (part.config.get(name) for part in (denoiser, pipeline.controlnet))
        if models != its:
            raise RecipeError(
                f"the ControlNet {shown_path(controlnet.source.location)} does not fit the model {shown(spec.name)}: "
                f"its {name} is "
                f"{its}, and the model's {models}. Take one that was trained for this model, or leave controlnet out."
            )


def steered_parts(spec: ModelSpec) -> frozenset[str]:
    """Names of the parts that the spec's IP-Adapter changes or adds."""
    return frozenset({"unet", "image_encoder"}) if spec.adapters.ip_adapter else frozenset()


def ip_adapter_bytes(spec: ModelSpec) -> int:
    """Size on disk of the spec's IP-Adapter with its image encoder; a repository's is downloaded."""
    adapter = spec.adapters.ip_adapter
    if adapter is None:
        return 0
    folder = _ip_adapter_folder(spec)
    files = [folder / adapter.file, *(folder / adapter.encoder).glob("*.safetensors")]
    return sum(path.stat().st_size for path in files)


def load_ip_adapter(pipeline: Any, spec: ModelSpec) -> None:
    """Load the spec's IP-Adapter into a pipeline. Raises RecipeError where it does not fit or cannot be downloaded."""
    adapter = spec.adapters.ip_adapter
    if adapter is None:
        return
    folder = _ip_adapter_folder(spec)
    try:
        with complete_weights(adapter.name, str(folder)):
            # A path with a slash starts at the folder's top.
            pipeline.load_ip_adapter(
                str(folder), subfolder="", weight_name=adapter.file, image_encoder_folder=f"./{adapter.encoder}"
            )
    except RecipeError:
        raise
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        why = " ".join(str(error).split())[:300] or type(error).__name__
        raise RecipeError(
            f"the IP-Adapter {shown(adapter.name)} does not fit the model {shown(spec.name)} ({why}). Take one that "
            "was trained "
            "for this model, with its own image encoder, or leave ip_adapter out."
        ) from error


def _ip_adapter_folder(spec: ModelSpec) -> Path:
    """Local folder that has its files under their names in the repository."""
    adapter = spec.adapters.ip_adapter
    # One by one, at this commit: load_ip_adapter itself takes the image encoder from the newest.
    for name in (f"{adapter.encoder}/config.json", f"{adapter.encoder}/model.safetensors", adapter.file):
        path = adapter.source.file("ip_adapter", name, spec.cache_dir)
    return path.parents[adapter.file.count("/")]
