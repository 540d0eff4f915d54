"""Schedulers of a model: those that a recipe may name, and whether the noise of the model's own has the row's seed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imagemill.data.config.schedulers import SchedulerName
from imagemill.data.errors import RecipeError
from imagemill.data.messages import shown

SEEDED_FAMILIES = (
    "StableDiffusionPipeline",
    "StableDiffusionInpaintPipeline",
    "StableDiffusionInstructPix2PixPipeline",
    "StableDiffusionXLPipeline",
    "StableDiffusionXLInpaintPipeline",
    "KolorsPipeline",
    "SanaPipeline",
    "SanaSprintPipeline",
    "PixArtSigmaPipeline",
    "LatentConsistencyModelPipeline",
)
"""Families whose pipelines pass the rows' generators to each step of the scheduler. The others pass none."""

NOISE_IN_STEPS = (
    "CMStochasticIterativeScheduler",
    "CogVideoXDPMScheduler",
    "DDPMParallelScheduler",
    "DDPMScheduler",
    "DDPMWuerstchenScheduler",
    "EulerAncestralDiscreteScheduler",
    "FlowMatchLCMScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "LCMScheduler",
    "LTXEulerAncestralRFScheduler",
    "RePaintScheduler",
    "SASolverScheduler",
    "SCMScheduler",
    "TCDScheduler",
    "UnCLIPScheduler",
)
"""Classes of diffusers that add noise in each step, from the generator that the pipeline passes."""

UNSEEDED = ("CosineDPMSolverMultistepScheduler", "DPMSolverSDEScheduler")
"""Classes of diffusers that add noise from no generator: from torchsde, one seed for a whole batch."""


def check_scheduler(
    field: str, name: SchedulerName | None, model: str, allowed: Sequence[SchedulerName]
) -> SchedulerName | None:
    """The name, if the model can generate with it. Raises RecipeError where it cannot."""
    if name is None or name in allowed:
        return name
    is_flow = not {"euler", "ddim"} & set(allowed)
    why = " predicts a flow, not noise, and" if is_flow and not name.startswith("flow-match") else ""
    can = f"it can generate with {', '.join(allowed)}. Take one of these, or leave" if allowed else "leave"
    raise RecipeError(
        f"{field} is {shown(name)}, which does not fit: {shown(model)}{why} has its own scheduler; {can} it out."
    )


def check_own_scheduler(
    step: str, model: str, family: str, allowed: Sequence[SchedulerName], index: str, folder: Path | None
) -> None:
    """Raise RecipeError where a model's own scheduler adds noise that has no row's seed.

    ``index``: the text of its model_index.json; ``folder``: where its other files are, if they are on this machine.
    """
    listed = _fields(index).get("scheduler")
    kind = str(listed[-1]) if isinstance(listed, list) and listed else ""
    path = folder and folder / "scheduler" / "scheduler_config.json"
    config = _fields(path.read_bytes()) if path and path.is_file() else {}
    is_noisy = (
        kind in NOISE_IN_STEPS
        or str(config.get("algorithm_type")).startswith("sde-")
        or config.get("stochastic_sampling") is True
    )
    if kind not in UNSEEDED and (not is_noisy or family in SEEDED_FAMILIES):
        return
    remedy = f"Set recipe.{step}.scheduler: {allowed[0]}" if allowed else "Take another model"
    raise RecipeError(
        f"recipe.{step}.model is {shown(model)}, whose scheduler, {shown(kind)}, adds noise in each step that has no "
        f"row's seed: no image could be generated again. {remedy}."
    )


def _fields(text: str | bytes) -> dict[str, Any]:
    """Fields of a JSON file; none where it is damaged, which loading it reports."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
