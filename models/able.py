"""Whether a recipe section asks its model for something that it can do."""

from __future__ import annotations

from data.errors import RecipeError
from data.recipe import Edit, Generate
from models.spec import ModelSpec, Step


def check_settings(step: Step, section: Generate | Edit, spec: ModelSpec) -> None:
    """Raises RecipeError when the section asks its model for what it cannot do."""
    if section.speed.step_cache == "first_block" and section.batch_size != 1:
        raise RecipeError(
            f"recipe.{step}.speed.step_cache is 'first_block', which decides for a whole batch at once, so that a "
            f"picture would depend on its neighbours, and recipe.{step}.batch_size is {section.batch_size}: "
            "set batch_size to 1, or take 'taylorseer' or 'magcache'."
        )
    if not isinstance(section, Generate):
        return
    for name in ("width", "height"):
        value = getattr(section, name)
        if value is not None and value % spec.size_multiple:
            near = max(1, round(value / spec.size_multiple)) * spec.size_multiple
            raise RecipeError(
                f"recipe.{step}.{name} is {value}: the model {spec.name!r} draws sizes that are multiples of "
                f"{spec.size_multiple} pixels, for instance {near}."
            )
    if section.negative_prompt and not spec.negative_prompt:
        raise RecipeError(
            f"recipe.{step}.negative_prompt is {section.negative_prompt!r}, but the model {spec.name!r} makes no use "
            "of negative prompts: leave it out."
        )
