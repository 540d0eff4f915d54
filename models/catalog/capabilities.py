"""Capabilities of models: checks that a recipe section or a sweep asks its model for nothing that it cannot do."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from imagemill.data.config.memory import Memory
from imagemill.data.config.steps import Edit, Generate
from imagemill.data.config.template import Sweep
from imagemill.data.errors import RecipeError
from imagemill.data.messages import shown
from imagemill.models.catalog.entries import Catalog, TaskCall
from imagemill.models.catalog.limits import ONE_TEXT_LENGTH
from imagemill.models.catalog.spec import Model, ModelSpec, Step, Task
from imagemill.models.catalog.true_cfg import true_cfg_argument, unless_true_cfg

_WITHOUT_MASK = ("flash", "flash_3", "flash_3_hub", "sage", "sage_hub")
"""Attention backends that take no mask."""

_FLOOR = ("StableDiffusionImg2Img", "StableDiffusionInpaint", "StableDiffusionXL", "Kolors")
"""Pipelines that run steps x strength rounded down; the others round up, and may leave out no step."""


CHOSEN_STEPS = "which its scheduler chooses from those that it was distilled in"


def fewest_steps(task: Task, pipeline: str, strength: float | None) -> int:
    """The fewest steps that make sense with a strength.

    Image-to-image and inpainting leave out the first steps. At least one of the others has to be run; and
    image-to-image that leaves out none begins with pure noise and sees nothing of its source.
    """
    # Latent consistency models run all their steps, from the noise level that the strength decides.
    if strength is None or strength == 1 or pipeline.startswith("LatentConsistencyModel"):
        return 1
    if pipeline.startswith(_FLOOR):
        return math.ceil(1 / strength)
    return math.ceil(round(1 / (1 - strength), 6)) if task == "image-to-image" else 1


def task_of(section: Generate | Edit) -> Task:
    """The task that a recipe section has for its model."""
    return "text-to-image" if isinstance(section, Generate) else section.task


def arguments_of(
    step: Step, section: Generate | Edit, call: TaskCall, pipeline: str, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Arguments that all calls of the section share. Raises RecipeError for one that the task does not have.

    ``pipeline``: the class that is called, with a ControlNet another one than the task's.
    """
    task = task_of(section)
    defaults = {
        "strength": call.strength,
        # Of a family's tasks only instruction has a guidance by the source image.
        "image_guidance_scale": settings["image_guidance_scale"] if task == "instruction" else None,
    }
    arguments: dict[str, Any] = dict(call.arguments)
    for name, default in defaults.items():
        value = getattr(section, name, None)
        if value is not None and default is None:
            raise RecipeError(
                f"recipe.{step}.{name} is {value}, but {shown(section.model)} takes none for the task {shown(task)}: "
                "leave it out."
            )
        if default is not None:
            arguments[name] = default if value is None else value
    return {**arguments, **true_cfg_argument(step, section, pipeline, settings)}


def check_sweep(sweep: Sweep, spec: Model) -> None:
    """Raises RecipeError when a sweep asks the first step's model for something that it cannot do."""
    limits = spec.limits
    for name in ("width", "height"):
        odd = [value for value in getattr(sweep, name) if value % limits.size_multiple]
        if odd:
            raise RecipeError(
                f"recipe.sweep.{name} has {odd[0]}: the model {shown(spec.name)} generates sizes that are multiples of "
                f"{limits.size_multiple} pixels."
            )
    few = [value for value in sweep.steps if value < limits.min_steps]
    if few:
        raise RecipeError(
            f"recipe.sweep.steps has {few[0]}: the model {shown(spec.name)} needs at least {limits.min_steps}"
            f"{' with its strength' if 'strength' in spec.call.arguments else ''}."
        )
    many = [value for value in sweep.steps if limits.max_steps is not None and value > limits.max_steps]
    if many:
        raise RecipeError(
            f"recipe.sweep.steps has {many[0]}: the model {shown(spec.name)} has at most {limits.max_steps}"
            f"{' with its strength' if 'strength' in spec.call.arguments else ''}, {CHOSEN_STEPS}."
        )
    if sweep.negative_prompt and not limits.negative_prompt:
        raise RecipeError(
            f"recipe.sweep.negative_prompt is given, but the model {shown(spec.name)} makes no use of negative "
            f"prompts: leave it out{unless_true_cfg('generate', limits)}."
        )
    if any(value != spec.defaults.guidance_scale for value in sweep.guidance_scale) and not limits.uses_guidance:
        raise RecipeError(
            f"recipe.sweep.guidance_scale is given, but the model {shown(spec.name)} makes no use of guidance: leave "
            "it out."
        )


def check_references(step: Step, section: Edit, call: TaskCall, catalog: Catalog) -> None:
    """Raises RecipeError when the section gives its model several images in a layout that it does not take."""
    layout = section.references_layout
    if call.takes(layout):
        return
    other = "separate" if layout == "stitch" else "stitch"
    placed = "side by side in one image" if layout == "stitch" else "by itself"
    hint = f" It takes them with references_layout: {other}." if call.takes(other) else ""
    raise RecipeError(
        f"recipe.{step}.references is true, but {shown(section.model)} takes no further image {placed} for the task "
        f"{shown(section.task)}.{hint} Of the catalog these do: {', '.join(catalog.takes_references(layout))}."
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
        f"recipe.{step}.safety is {shown(section.safety)}, but the model {shown(section.model)} ships no {CHECKER} "
        "with its "
        "feature extractor: set it to 'off', or take a model that does, as Stable Diffusion 1.5 and those made from it."
    )


_IMPOSSIBLE = {
    ("sequential", "bitsandbytes_4bit"): "a 4-bit weight cannot be put back layer by layer",
    ("group", "bitsandbytes_8bit"): "the layers of an 8-bit model cannot be moved in groups",
    ("sequential", "float8_storage"): "a layer that is not on the device cannot be widened there",
}
"""Pairs of memory.offload and memory.quantization that fail in accelerate or diffusers at the first batch, and why."""


def check_memory(step: Step, memory: Memory, quantized_files: Mapping[str, str]) -> None:
    """Raises RecipeError for two memory settings that exclude each other, or one that excludes the model's files."""
    for method in dict.fromkeys((memory.quantization, *quantized_files.values())):
        if why := _IMPOSSIBLE.get((memory.offload, method)):
            is_setting = method == memory.quantization
            what = f"quantization: {method}" if is_setting else f"a model that is quantized with {method}"
            raise RecipeError(
                f"recipe.{step}.memory.offload is {shown(memory.offload)}, which excludes {what}, since {why}. Set "
                f"offload to model, or take another {'quantization' if is_setting else 'model'}."
            )


def check_settings(step: Step, section: Generate | Edit, spec: ModelSpec) -> None:
    """Raises RecipeError when the section asks its model for something that it cannot do."""
    limits = spec.limits
    if section.speed.attention in _WITHOUT_MASK and spec.pipeline in ONE_TEXT_LENGTH:
        raise RecipeError(
            f"recipe.{step}.speed.attention is {shown(section.speed.attention)}, which cannot mask the padding of the "
            f"texts of {shown(spec.name)}: take 'native', 'cudnn' or 'xformers', or leave it out."
        )
    check_memory(step, section.memory, spec.quantized_files)
    if section.memory.quantization == "float8_storage" and (spec.adapters.loras or spec.adapters.ip_adapter):
        raise RecipeError(
            f"recipe.{step}.memory.quantization is 'float8_storage', which excludes lora and ip_adapter: their layers "
            "would be stored in eight bits too. Leave them out, or take another quantization."
        )
    if section.speed.step_cache == "first_block" and section.batch_size != 1:
        raise RecipeError(
            f"recipe.{step}.speed.step_cache is 'first_block', which decides for a whole batch at once, so that an "
            f"image would depend on its neighbours, and recipe.{step}.batch_size is {section.batch_size}: "
            "set batch_size to 1, or take 'taylorseer' or 'magcache'."
        )
    if section.steps is not None and section.steps < limits.min_steps:
        if "strength" not in spec.call.arguments:
            raise RecipeError(
                f"recipe.{step}.steps is {section.steps}, but the model {shown(spec.name)} needs at least "
                f"{limits.min_steps}: its scheduler spreads the steps between two noise levels. Set more steps."
            )
        raise RecipeError(
            f"recipe.{step}.steps is {section.steps}, but with a strength of {spec.call.arguments['strength']} the "
            f"model {shown(spec.name)} needs at least {limits.min_steps}: it would run no step, or see nothing of the "
            "source. Set more steps or another strength."
        )
    steps = section.steps or spec.defaults.steps
    if limits.max_steps is not None and steps > limits.max_steps:
        strength = spec.call.arguments.get("strength")
        raise RecipeError(
            f"recipe.{step}.steps is {steps}, but the model {shown(spec.name)} has at most {limits.max_steps}"
            f"{'' if strength is None else f' with a strength of {strength}'}, {CHOSEN_STEPS}. Set fewer steps"
            f"{'' if strength is None else ' or more strength'}."
        )
    if section.guidance_scale not in (None, spec.defaults.guidance_scale) and not limits.uses_guidance:
        raise RecipeError(
            f"recipe.{step}.guidance_scale is {section.guidance_scale:g}, but the model {shown(spec.name)} makes no "
            "use of "
            "guidance: it was trained to do without. Leave it out."
        )
    if isinstance(section, Generate):
        _check_size(step, section, spec)
        if section.negative_prompt and not limits.negative_prompt:
            raise RecipeError(
                f"recipe.{step}.negative_prompt is {shown(section.negative_prompt)}, but the model {shown(spec.name)} "
                f"makes no use of negative prompts: leave it out{unless_true_cfg(step, limits)}."
            )


def _check_size(step: Step, section: Generate, spec: ModelSpec) -> None:
    multiple = spec.limits.size_multiple
    for name in ("width", "height"):
        value = getattr(section, name)
        if value is not None and value % multiple:
            near = max(1, round(value / multiple)) * multiple
            raise RecipeError(
                f"recipe.{step}.{name} is {value}: the model {shown(spec.name)} generates sizes that are multiples of "
                f"{multiple} pixels, for instance {near}."
            )
    width, height = section.width or spec.defaults.width, section.height or spec.defaults.height
    if spec.limits.only_buckets and (width, height) not in spec.limits.buckets:
        sizes = ", ".join(f"{width} x {height}" for width, height in spec.limits.buckets)
        raise RecipeError(
            f"recipe.{step} asks for {width} x {height} pixels, but the model {shown(spec.name)} generates only "
            f"{sizes}: "
            f"give one of these, or recipe.{step}.aspect_ratio."
        )
