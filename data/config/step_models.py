"""Models of a recipe's first step, which may have several: its section's, and those of `sweep.model`.

Rows and steps name them by the last part of what the recipe has (`model-2` for a folder of that name), so that a moved
folder changes no row's id, and no path goes into a dataset.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from imagemill.data.config.chain import Link, chain_of
from imagemill.data.config.recipe import Recipe
from imagemill.data.config.steps import Edit, Generate
from imagemill.data.messages import cut


def base_step(step: str) -> str:
    """The recipe's step (Link.name) of a step with its model: ``generate`` for ``generate: model-2``."""
    return step.partition(":")[0]


def swept_models(recipe: Recipe) -> dict[str, str]:
    """Model of `sweep.model`, as the recipe has it -> its short name."""
    return _short_names(recipe.sweep.model if recipe.sweep else ())


def row_models(recipe: Recipe) -> dict[str, str]:
    """Model that a row may name, as the recipe has it -> its short name: the swept ones, and the section's."""
    return _short_names([*swept_models(recipe), *(link.section.model for link in chain_of(recipe)[:1])])


def model_links(recipe: Recipe) -> tuple[Link[Generate | Edit], ...]:
    """The recipe's steps in order, the first of them once for each model that a row of it may have.

    The section's own model has the step's name, the others ``generate: NAME``, with the section's settings but for
    the revision, which is that of the section's own.
    """
    first, *later = chain_of(recipe) or (None,)
    if first is None:
        return ()
    swept, own = swept_models(recipe), first.section.model
    names = row_models(recipe)
    used = [*swept, own] if own not in swept and (not swept or recipe.columns.model is not None) else [*swept]
    links = []
    for model in used:
        if model == own:
            links.append(first)
            continue
        section = first.section.model_copy(update={"model": model, "revision": None})
        links.append(Link(f"{first.name}: {names[model]}", first.field, section))
    return (*links, *later)


def steps_of_models(recipe: Recipe) -> dict[str | None, str]:
    """Short name of a row's model -> the step that generates with it. None: a row that names no model."""
    first = next(iter(chain_of(recipe)), None)
    if first is None:
        return {}
    names = row_models(recipe)
    steps: dict[str | None, str] = {None: first.name}
    for link in model_links(recipe):
        if base_step(link.name) == first.name:
            steps[names[link.section.model]] = link.name
    return steps


def _short_names(models: Iterable[str]) -> dict[str, str]:
    """Model -> the last part of its path or repository; of several that are the same, later ones are numbered."""
    names: dict[str, str] = {}
    for model in models:
        if model not in names:
            last = cut(re.split(r"[\\/]", model.rstrip("\\/"))[-1] or model)
            name, number = last, 1
            while name in names.values():
                number += 1
                name = f"{last} {number}"
            names[model] = name
    return names
