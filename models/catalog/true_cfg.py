"""True classifier-free guidance of guidance-distilled models: a second pass, away from a negative prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagemill.data.config.steps import Edit, Generate
from imagemill.data.errors import RecipeError
from imagemill.data.messages import shown
from imagemill.models.catalog.limits import Limits

_WITH_STEP_CACHE = ("FluxPipeline",)
"""Pipelines that keep a step cache's states of their two passes apart."""


def true_cfg_argument(
    step: str, section: Generate | Edit, pipeline: str, settings: Mapping[str, Any]
) -> dict[str, float]:
    """The section's true_cfg_scale as an argument of every call; none where it has none.

    ``pipeline``: name of the class that is called. Raises RecipeError where that takes none.
    """
    scale = section.true_cfg_scale
    if scale is None:
        return {}
    if not settings["true_cfg"]:
        raise RecipeError(
            f"recipe.{step}.true_cfg_scale is {scale:g}, but {shown(section.model)} takes none: leave it out."
            f"{' Its guidance_scale is one.' if settings['negative_prompt'] else ''}"
        )
    if section.speed.step_cache != "none" and pipeline not in _WITH_STEP_CACHE:
        raise RecipeError(
            f"recipe.{step}.speed.step_cache is {shown(section.speed.step_cache)}, which would mix up the two passes "
            f"that true_cfg_scale makes of a step of {pipeline}: leave one of them out."
        )
    return {"true_cfg_scale": scale}


def unless_true_cfg(step: str, limits: Limits) -> str:
    """Hint of an error about a negative prompt that the model does not read, if a true_cfg_scale would change that."""
    return f", or give recipe.{step}.true_cfg_scale too, such as 2" if limits.true_cfg else ""
