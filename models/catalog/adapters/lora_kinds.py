"""Kinds of adapters that are shared as LoRAs and are none, by the names of their tensors. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable

_MARKS = {".hada_w": "LoHa", ".lokr_w": "LoKr", ".oft_": "OFT", ".glora_": "GLoRA"}
"""Part of a tensor's name, as LyCORIS, kohya's scripts and ai-toolkit write it -> what such files are called."""

_LOKR = ("Flux2", "ZImage")
"""Beginnings of the pipelines for which diffusers 0.42 has a loader of LoKr (its loaders/lora_pipeline.py)."""

TAKE_A_LORA = "take the LoRA of it, if its author has one, or leave it out of lora."
"""Remedy for such a file."""


def kind_of(names: Iterable[str]) -> str | None:
    """Kind of a file with tensors of these names, if it is no LoRA; None if no name shows one."""
    return next((kind for name in names for mark, kind in _MARKS.items() if mark in name.lower()), None)


def why_unloadable(names: Iterable[str], pipeline: str) -> str | None:
    """Why diffusers cannot load an adapter with tensors of these names, as the end of a sentence; None if it may.

    ``pipeline``: name of the class that takes it.
    """
    kind = kind_of(names)
    if kind is None or (kind == "LoKr" and pipeline.startswith(_LOKR)):
        return None
    if kind == "LoKr":
        return f"is a LyCORIS LoKr, which diffusers loads for FLUX.2 and Z-Image alone, not for a {pipeline}"
    return f"is a LyCORIS {kind}, which diffusers cannot load"


def is_adapter(name: str) -> bool:
    """True if a tensor of this name is one of a LoRA's, or of what is shared as one."""
    return "lora" in name.lower() or kind_of([name]) is not None
