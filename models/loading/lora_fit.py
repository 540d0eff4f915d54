"""Count of a LoRA file's tensors that a loaded pipeline has a layer for.

diffusers renames, scales, splits and leaves out tensors before peft puts them into layers, and reports only some of
what is lost on the way. So the file is converted a second time with numbers in place of its weights, each tensor its
own, and the numbers that come out under the name of a layer are counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from imagemill.data.errors import one_line
from imagemill.models.loading.lora_names import readable

_SCALES = (".alpha", "lora_alpha")
"""Endings of the names of a layer's scale, which is a number and no weight."""
_RANKS = ("lora_down.weight", "lora_A.weight", "lora.down.weight", "lokr_w2_b", "lokr_w1_b")
"""Endings of the tensors whose first dimension is the rank by which a scale is divided."""
_WEIGHT = re.compile(r"\.(lora_linear_layer\.\w+|lora_\w+|lora\.(down|up)|lokr_\w+)(\.weight|\.bias)?$")
"""The end of a converted tensor's name, behind that of its layer."""
_PROCESSOR = re.compile(r"\.processor\.(to_q|to_k|to_v|to_out)_lora\.")
"""diffusers' names of before peft."""
_SAMPLES = 4096
"""Numbers of each converted tensor that are compared: a converter may join several tensors to one."""


@dataclass(frozen=True, slots=True)
class LoraFit:
    """Share of a LoRA's file that a pipeline uses."""

    lora: str
    """Name of its file."""
    used: int
    """Tensors with weights that a layer of the pipeline has, ..."""
    tensors: int
    """... of these in the file."""
    first: str | None
    """The first that none has; None if all are used."""

    def as_event(self) -> dict[str, Any]:
        """For the event of the loaded model."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def lora_fit(pipeline: Any, adapter: str, lora: str, tensors: Mapping[str, torch.Tensor]) -> LoraFit:
    """Count the tensors of a LoRA that ``pipeline`` has loaded as ``adapter``. ``lora``: name of its file."""
    names = [name for name in tensors if not name.endswith(_SCALES)]
    numbered = {name: torch.full(tensors[name].shape, float(number)) for number, name in enumerate(names, 1)}
    scales = {name: torch.tensor(_rank(name, tensors)) for name in tensors if name.endswith(_SCALES)}
    settings = {"unet_config": pipeline.unet.config} if hasattr(pipeline, "unet") else {}
    named = readable({**numbered, **scales}, pipeline.components.get("transformer"))
    found = pipeline.lora_state_dict(named, **settings)
    converted = found[0] if isinstance(found, tuple) else found
    layers = set(_layers(pipeline, adapter))
    used: set[int] = set()
    for name, tensor in converted.items():
        if _layer_of(name) in layers:
            sample = tensor.detach().flatten()
            used |= {round(value) for value in sample[:: max(1, len(sample) // _SAMPLES)].tolist()}
    left = [name for number, name in enumerate(names, 1) if number not in used]
    return LoraFit(lora, len(names) - len(left), len(names), one_line(left[0], 120) if left else None)


def _rank(scale: str, tensors: Mapping[str, torch.Tensor]) -> float:
    """The value with which a converter leaves weights as they are."""
    layer = scale.rsplit(".", 1)[0]
    ranks = (tensors[f"{layer}.{end}"].shape[0] for end in _RANKS if f"{layer}.{end}" in tensors)
    return float(next(ranks, 1))


def _layers(pipeline: Any, adapter: str) -> Iterator[str]:
    """Names of the layers that have the adapter, with that of their part first."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for part, module in pipeline.components.items():
        if isinstance(module, torch.nn.Module):
            for name, layer in module.named_modules():
                if isinstance(layer, BaseTunerLayer) and any(
                    adapter in getattr(layer, names) for names in layer.adapter_layer_names
                ):
                    yield _plain(f"{part}.{name}")


def _layer_of(name: str) -> str:
    """The layer of a converted tensor, as ``_layers`` names it."""
    name = _PROCESSOR.sub(lambda found: f".{found[1]}{'.0' if found[1] == 'to_out' else ''}.lora.", name)
    return _plain(_WEIGHT.sub("", name))


def _plain(name: str) -> str:
    # transformers 5 has CLIP's layers without this level.
    return name.replace(".text_model.", ".")
