"""Network of a head, made of the tensors in its safetensors file: linear layers, one after another.

The format of the published aesthetic predictors: matrices ``....weight``, (outputs, inputs), with vectors
``....bias``, in the order of the numbers in their names. Between the layers stands nothing, as in LAION's, or what the
file's metadata names as ``activation``; after the last one what they name as ``output``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

import torch
from safetensors import SafetensorError, safe_open

from imagemill.data.errors import RecipeError
from imagemill.data.messages import shown, shown_path
from imagemill.models.catalog.scorers.heads import HeadFile

ACTIVATIONS: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "none": lambda values: values,
    "relu": torch.relu,
    "gelu": torch.nn.functional.gelu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}
"""Functions that the metadata's ``activation`` and ``output`` can name."""

Head = Callable[[torch.Tensor], torch.Tensor]


@lru_cache(maxsize=16)
def load_head(scorer: str, file: HeadFile, cache_dir: str | None, width: int) -> Head:
    """The head of a scorer, for embeddings of ``width``: takes (width,), gives (1,), float32 on the CPU.

    Raises RecipeError where the file is no such head, and what a download raises.
    """
    field = f"recipe.scorers.{scorer}.head"
    path = file.source.file(field, file.file, cache_dir) if file.file else file.source.location
    try:
        with safe_open(path, framework="pt") as opened:
            tensors = {name: opened.get_tensor(name).float() for name in opened.keys()}  # noqa: SIM118 - no mapping
            metadata = opened.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise RecipeError(f"{field} is {shown_path(file.name)}, which cannot be read as safetensors.") from error
    layers = _layers(field, file, tensors, width)
    between, last = (_activation(field, file, metadata, key) for key in ("activation", "output"))

    def head(vector: torch.Tensor) -> torch.Tensor:
        values = vector
        for number, (weight, bias) in enumerate(layers):
            values = weight @ (between(values) if number else values) + bias
        return last(values)

    return head


def _layers(
    field: str, file: HeadFile, tensors: Mapping[str, torch.Tensor], width: int
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    names = sorted((name for name in tensors if name.endswith(".weight") or name == "weight"), key=_numbers)
    layers, inputs, used = [], width, set()
    for name in names:
        weight, bias_name = tensors[name], name.removesuffix("weight") + "bias"
        if weight.ndim != 2 or weight.shape[1] != inputs:
            is_first = f"the model's embeddings have {inputs} values" if not layers else f"it gets {inputs} values"
            raise _unfit(field, file, f"its {shown(name)} has the shape {tuple(weight.shape)}, and {is_first}")
        inputs = weight.shape[0]
        bias = tensors.get(bias_name, torch.zeros(inputs))
        if bias.shape != (inputs,):
            raise _unfit(field, file, f"its {shown(bias_name)} has the shape {tuple(bias.shape)}")
        layers.append((weight, bias))
        used |= {name, bias_name}
    if others := sorted(tensors.keys() - used):
        raise _unfit(field, file, f"it has {shown(others[0])} too")
    if inputs != 1:
        raise _unfit(field, file, f"it gives {inputs} values, and a score is one")
    return layers


def _unfit(field: str, file: HeadFile, why: str) -> RecipeError:
    return RecipeError(
        f"{field} is {shown_path(file.name)}, which is no head for this model: {why}. A head is a chain of linear "
        "layers from the model's image embedding to one value; take the model that it was trained on."
    )


def _activation(
    field: str, file: HeadFile, metadata: Mapping[str, str], key: str
) -> Callable[[torch.Tensor], torch.Tensor]:
    name = metadata.get(key, "none")
    if name not in ACTIVATIONS:
        raise RecipeError(
            f"{field} is {shown_path(file.name)}, whose metadata have {key} {shown(name)}; allowed are "
            f"{', '.join(ACTIVATIONS)}."
        )
    return ACTIVATIONS[name]


def _numbers(name: str) -> list[tuple[int, str]]:
    """Key that sorts layers.2 before layers.10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
