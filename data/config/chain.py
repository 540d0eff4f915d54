"""The steps of a recipe in order, whichever way it gives them: `generate` and `edit`, or a list of `steps`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from imagemill.data.config.recipe import Recipe
from imagemill.data.config.steps import Edit, Generate


class Link(NamedTuple):
    """One step of a recipe."""

    name: str
    """``generate``, ``edit``, ``edit 2`` and so on: what models, task runs and the manifest call it."""
    field: str
    """Where the recipe has it: ``edit``, ``steps.1.edit``."""
    section: Generate | Edit

    @property
    def is_edit(self) -> bool:
        """Whether it generates from an image."""
        return isinstance(self.section, Edit)


def chain_of(recipe: Recipe) -> tuple[Link, ...]:
    """The recipe's steps, in the order in which they draw."""
    if not recipe.steps:
        given = (("generate", recipe.generate), ("edit", recipe.edit))
        return tuple(Link(name, name, section) for name, section in given if section is not None)
    links: list[Link] = []
    for number, step in enumerate(recipe.steps):
        if step.generate is not None:
            links.append(Link("generate", f"steps.{number}.generate", step.generate))
        else:
            edits = 1 + sum(link.is_edit for link in links)
            links.append(Link("edit" if edits == 1 else f"edit {edits}", f"steps.{number}.edit", step.edit))
    return tuple(links)


def generate_of(recipe: Recipe) -> Generate | None:
    """How the recipe generates images from prompts; None where they come from the rows."""
    return next((link.section for link in chain_of(recipe) if not link.is_edit), None)


def edits_of(recipe: Recipe) -> tuple[Link, ...]:
    """The steps that draw from an image."""
    return tuple(link for link in chain_of(recipe) if link.is_edit)


def has_turns(recipe: Recipe) -> bool:
    """Whether an image may be edited more than once, so that the dataset has a row a turn."""
    edits = edits_of(recipe)
    return len(edits) > 1 or any(link.section.multi_turn for link in edits)


def has_masks(recipe: Recipe) -> bool:
    """Whether rows have a mask, for an edit that paints where it is white."""
    return any(link.section.task == "inpaint" for link in edits_of(recipe))


def has_references(recipe: Recipe) -> bool:
    """Whether the model is given a row's further images too."""
    return any(link.section.references for link in edits_of(recipe))


def plain_chain(recipe: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """``generate`` or ``edit``, and the fields, of each step of a recipe as a manifest has it."""
    steps = recipe.get("steps") or [{"generate": recipe["generate"]}, {"edit": recipe["edit"]}]
    return [(kind, step[kind]) for step in steps for kind in ("generate", "edit") if step.get(kind) is not None]


def plain_steps(recipe: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The same by the steps' names (Link.name)."""
    named: dict[str, Mapping[str, Any]] = {}
    for kind, section in plain_chain(recipe):
        number = 1 + sum(name.startswith(kind) for name in named)
        named[kind if number == 1 else f"{kind} {number}"] = section
    return named


def with_sections(recipe: Recipe, changed: Mapping[str, Generate | Edit]) -> Recipe:
    """The recipe with other sections, by their steps' names."""
    if not recipe.steps:
        return recipe.model_copy(update=dict(changed))
    links = chain_of(recipe)
    steps = [
        step.model_copy(update={"edit" if link.is_edit else "generate": changed.get(link.name, link.section)})
        for step, link in zip(recipe.steps, links, strict=True)
    ]
    return recipe.model_copy(update={"steps": steps})
