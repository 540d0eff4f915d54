"""Whether a recipe section asks its model for something that it can do."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imagemill.data.config.schedulers import SchedulerName
from imagemill.data.config.steps import Edit, Generate
from imagemill.data.config.template import Sweep
from imagemill.data.errors import RecipeError
from imagemill.models.catalog.entries import Catalog, TaskCall
from imagemill.models.catalog.spec import Model, ModelSpec, Step, Task

_FLOOR = ("StableDiffusionImg2Img", "StableDiffusionInpaint", "StableDiffusionXL")
"""Pipelines that draw steps x strength rounded down; the others round up, and may leave out no step."""


def fewest_steps(task: Task, pipeline: str, strength: float | None) -> int:
    """The fewest steps that make sense with a strength.

    Image-to-image and inpainting leave out the first steps: of the others at least one has to be generated, and where
    image-to-image leaves out none, it begins with noise alone and sees nothing of its source.
    """
    if strength is None or strength == 1:
        return 1
    if pipeline.startswith(_FLOOR):
        return math.ceil(1 / strength)
    return math.ceil(round(1 / (1 - strength), 6)) if task == "image-to-image" else 1


def task_of(section: Generate | Edit) -> Task:
    """What a recipe section asks its model for."""
    return "text-to-image" if isinstance(section, Generate) else section.task


def arguments_of(step: Step, section: Generate | Edit, call: TaskCall, settings: Mapping[str, Any]) -> dict[str, float]:
    """Arguments that every call of the section has alike. Raises RecipeError for one that the task has not."""
    given = {name: getattr(section, name, None) for name in ("strength", "image_guidance_scale")}
    usual = {
        "strength": call.strength,
        # Of a family's tasks only the instruction has a guidance by the source image.
        "image_guidance_scale": settings["image_guidance_scale"] if task_of(section) == "instruction" else None,
    }
    for name, value in given.items():
        if value is not None and usual[name] is None:
            raise RecipeError(
                f"recipe.{step}.{name} is {value}, but {section.model!r} takes none for the task "
                f"{task_of(section)!r}: leave it out."
            )
    return {name: given[name] if given[name] is not None else usual[name] for name in usual if usual[name] is not None}


def check_sweep(sweep: Sweep, spec: Model) -> None:
    """Raises RecipeError when a sweep asks the first step's model for what it cannot do."""
    for name in ("width", "height"):
        odd = [value for value in getattr(sweep, name) if value % spec.size_multiple]
        if odd:
            raise RecipeError(
                f"recipe.sweep.{name} has {odd[0]}: the model {spec.name!r} generates sizes that are multiples of "
                f"{spec.size_multiple} pixels."
            )
    few = [value for value in sweep.steps if value < spec.min_steps]
    if few:
        raise RecipeError(
            f"recipe.sweep.steps has {few[0]}: with its strength the model {spec.name!r} needs at least "
            f"{spec.min_steps}."
        )
    if sweep.negative_prompt and not spec.negative_prompt:
        raise RecipeError(
            f"recipe.sweep.negative_prompt is given, but the model {spec.name!r} makes no use of negative prompts: "
            "leave it out."
        )
    if any(value != spec.guidance_scale for value in sweep.guidance_scale) and not spec.uses_guidance:
        raise RecipeError(
            f"recipe.sweep.guidance_scale is given, but the model {spec.name!r} makes no use of guidance: leave it out."
        )


def check_references(step: Step, section: Edit, call: TaskCall, catalog: Catalog) -> None:
    """Raises RecipeError when the section gives its model several images in a way that it does not take."""
    layout = section.references_layout
    if call.takes(layout):
        return
    other = "separate" if layout == "stitch" else "stitch"
    way = "side by side in one image" if layout == "stitch" else "by itself"
    hint = f" It takes them with references_layout: {other}." if call.takes(other) else ""
    raise RecipeError(
        f"recipe.{step}.references is true, but {section.model!r} takes no further image {way} for the task "
        f"{section.task!r}.{hint} Of the catalog these do: {', '.join(catalog.takes_references(layout))}."
    )


CHECKER = "StableDiffusionSafetyChecker"


def check_safety(step: Step, section: Generate | Edit, index: str) -> None:
    """Raises RecipeError when the section asks for a safety checker that its model does not ship.

    ``index``: the text of the model's model_index.json.
    """
    parts = json.loads(index)
    if (parts.get("safety_checker") or [None, None])[1] == CHECKER and parts.get("feature_extractor", [None])[0]:
        return
    raise RecipeError(
        f"recipe.{step}.safety is {section.safety!r}, but the model {section.model!r} ships no {CHECKER} with its "
        "feature extractor: set it to 'off', or take a model that does, as Stable Diffusion 1.5 and those made from it."
    )


def check_settings(step: Step, section: Generate | Edit, spec: ModelSpec) -> None:
    """Raises RecipeError when the section asks its model for what it cannot do."""
    if section.speed.step_cache == "first_block" and section.batch_size != 1:
        raise RecipeError(
            f"recipe.{step}.speed.step_cache is 'first_block', which decides for a whole batch at once, so that a "
            f"image would depend on its neighbours, and recipe.{step}.batch_size is {section.batch_size}: "
            "set batch_size to 1, or take 'taylorseer' or 'magcache'."
        )
    if section.steps is not None and section.steps < spec.min_steps:
        raise RecipeError(
            f"recipe.{step}.steps is {section.steps}, but with a strength of {spec.call['strength']} the model "
            f"{spec.name!r} needs at least {spec.min_steps}: it would draw no step, or see nothing of the source. "
            "Set more steps or another strength."
        )
    if section.guidance_scale not in (None, spec.guidance_scale) and not spec.uses_guidance:
        raise RecipeError(
            f"recipe.{step}.guidance_scale is {section.guidance_scale:g}, but the model {spec.name!r} makes no use of "
            "guidance: it was made to draw without. Leave it out."
        )
    if not isinstance(section, Generate):
        return
    for name in ("width", "height"):
        value = getattr(section, name)
        if value is not None and value % spec.size_multiple:
            near = max(1, round(value / spec.size_multiple)) * spec.size_multiple
            raise RecipeError(
                f"recipe.{step}.{name} is {value}: the model {spec.name!r} generates sizes that are multiples of "
                f"{spec.size_multiple} pixels, for instance {near}."
            )
    asked = section.width or spec.width, section.height or spec.height
    if spec.only_buckets and asked not in spec.buckets:
        sizes = ", ".join(f"{width} x {height}" for width, height in spec.buckets)
        raise RecipeError(
            f"recipe.{step} asks for {asked[0]} x {asked[1]} pixels, but the model {spec.name!r} generates no others than "
            f"{sizes}: give one of them, or recipe.{step}.aspect_ratio."
        )
    if section.negative_prompt and not spec.negative_prompt:
        raise RecipeError(
            f"recipe.{step}.negative_prompt is {section.negative_prompt!r}, but the model {spec.name!r} makes no use "
            "of negative prompts: leave it out."
        )


def check_scheduler(
    field: str, name: SchedulerName | None, model: str, allowed: Sequence[SchedulerName]
) -> SchedulerName | None:
    """The name, if the model can be generated with it. Raises RecipeError where it cannot."""
    if name is None or name in allowed:
        return name
    is_flow = not any(one in allowed for one in ("euler", "ddim"))
    why = " predicts a flow, not noise, and" if is_flow and not name.startswith("flow-match") else ""
    can = f"it can be generated with {', '.join(allowed)}. Take one of these, or leave" if allowed else "leave"
    raise RecipeError(f"{field} is {name!r}, which does not fit: {model!r}{why} has its own scheduler; {can} it out.")


_EMBEDDED = ("FluxPipeline", "FluxKontextPipeline", "FluxFillPipeline")
"""Families whose guidance goes into the transformer, as far as that has a place for it."""


def uses_guidance(said: bool | None, family: str, folder: Path) -> bool:
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
