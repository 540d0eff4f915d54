"""Whether a model makes use of guidance: some that were distilled take the number and leave it out, without a word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_EMBEDDED = ("FluxPipeline", "FluxKontextPipeline", "FluxFillPipeline")
"""Families whose guidance goes into the transformer, as far as that has a place for it."""


def heeds_guidance(said: bool | None, family: str, folder: Path) -> bool:
    """Whether a model makes use of a guidance scale.

    ``said`` is the catalog's word; without one the configs in the model's folder count. A model does of which neither
    says anything, as one that is not in a folder.
    """
    if said is not None:
        return said
    if family in _EMBEDDED:
        return _read(folder / "transformer" / "config.json").get("guidance_embeds", True)
    if family == "Flux2KleinPipeline":
        return not _read(folder / "model_index.json").get("is_distilled", False)
    return True


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_bytes()) if path.exists() else {}
