"""Limits that a model's own files set: steps, guidance and negative prompts, by its index and the configs beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_EMBEDDED = ("FluxPipeline", "FluxKontextPipeline", "FluxFillPipeline", "HunyuanImagePipeline")
"""Families whose guidance goes into the transformer, if that has an input for it."""

_CONSISTENCY = {"lcm": "LCMScheduler", "tcd": "TCDScheduler"}
"""Schedulers that choose their steps from those that a model was distilled in: name in a recipe -> class."""

ORIGINAL_STEPS = 50
"""Number of these steps where a scheduler's config has none."""


def fewest_own_steps(declared: int, folder: Path | None) -> int:
    """The fewest steps with a model's own scheduler, or another one that has its configuration.

    ``declared``: the family's. The config in a model's ``folder`` decides: where it has a shift_terminal, the noise
    levels of all steps are stretched until the last one is that, which one level alone cannot be.
    """
    if folder and (folder / "scheduler" / "scheduler_config.json").is_file():
        return 2 if _read(folder / "scheduler" / "scheduler_config.json").get("shift_terminal") else 1
    return declared


def most_steps(
    family: str, scheduler: str | None, index: Mapping[str, Any] | None, folder: Path | None, strength: float | None
) -> int | None:
    """The most steps that a consistency scheduler has; None where the model has none of those.

    ``scheduler``: the one that the recipe names, if any. ``index``: the model's model_index.json, where it is known.
    ``strength``: of latent consistency models, whose scheduler leaves out what lies above it.
    """
    is_consistency = family == "LatentConsistencyModelPipeline"
    listed = (index or {}).get("scheduler")
    own = str(listed[-1]) if isinstance(listed, list) and listed else "LCMScheduler" if is_consistency else ""
    if not (scheduler in _CONSISTENCY or (scheduler is None and own in _CONSISTENCY.values())):
        return None
    config = _read(folder / "scheduler" / "scheduler_config.json") if folder else {}
    steps = config.get("original_inference_steps")
    share = strength if is_consistency and strength is not None else 1
    return int((steps if isinstance(steps, int) else ORIGINAL_STEPS) * share)


def uses_guidance(declared: bool | None, family: str, folder: Path | None, given: bool | None = None) -> bool:
    """True if a model makes use of a guidance scale.

    ``declared`` is the catalog's answer; without one the configs in the model's ``folder`` decide. A model that
    neither describes, such as a repository's, is taken to use it. ``given``: whether a transformer that is loaded in
    place of the model's own does; None where there is none, or it is not known.
    """
    if given is not None and family in _EMBEDDED:
        return given
    if declared is not None:
        return declared
    if folder and family in _EMBEDDED:
        return _read(folder / "transformer" / "config.json").get("guidance_embeds", True)
    if folder and family == "Flux2KleinPipeline":
        return not _read(folder / "model_index.json").get("is_distilled", False)
    return True


def reads_negative(declared: bool, family: str, index: Mapping[str, Any] | None) -> bool:
    """True if a model makes use of a negative prompt. ``declared``: by the catalog; ``index``: its model_index.json.

    A HunyuanImage without guiders is the distilled one, which makes no second pass.
    """
    if declared and index is not None and family == "HunyuanImagePipeline":
        return any((index.get(name) or [None])[0] for name in ("guider", "ocr_guider"))
    return declared


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_bytes()) if path.exists() else {}
