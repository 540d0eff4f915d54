"""The recipe's steps in order, from either form: `generate` and `edit`, or a list of `steps`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from imagemill.data.config.recipe import Recipe
from imagemill.data.config.steps import Edit, Generate

SectionT = TypeVar("SectionT", bound=Generate | Edit)


class Link(NamedTuple, Generic[SectionT]):
    """One step of a recipe."""

    name: str
    """``generate``, ``edit``, ``edit 2`` and so on: its name for models, task runs and the manifest."""
    field: str
    """Its place in the recipe: ``edit``, ``steps.1.edit``."""
    section: SectionT

    @property
    def is_edit(self) -> bool:
        """True if the step starts from an image."""
        return isinstance(self.section, Edit)


def chain_of(recipe: Recipe) -> tuple[Link[Generate | Edit], ...]:
    """The recipe's steps, in the order in which they run."""
    if not recipe.steps:
        sections = (("generate", recipe.generate), ("edit", recipe.edit))
        return tuple(Link(name, name, section) for name, section in sections if section is not None)
    links: list[Link[Generate | Edit]] = []
    for number, step in enumerate(recipe.steps):
        if step.generate is not None:
            links.append(Link("generate", f"steps.{number}.generate", step.generate))
        elif step.edit is not None:
            edits = 1 + sum(link.is_edit for link in links)
            links.append(Link("edit" if edits == 1 else f"edit {edits}", f"steps.{number}.edit", step.edit))
    return tuple(links)


def generate_of(recipe: Recipe) -> Generate | None:
    """The recipe's generate section; None if the rows supply the images."""
    return next((link.section for link in chain_of(recipe) if isinstance(link.section, Generate)), None)


def edits_of(recipe: Recipe) -> tuple[Link[Edit], ...]:
    """The recipe's edit steps, in order."""
    return tuple(
        Link(link.name, link.field, link.section) for link in chain_of(recipe) if isinstance(link.section, Edit)
    )


def has_turns(recipe: Recipe) -> bool:
    """True if an image may be edited more than once, so that the dataset has one row per turn."""
    edits = edits_of(recipe)
    return len(edits) > 1 or any(link.section.multi_turn for link in edits)


def has_masks(recipe: Recipe) -> bool:
    """True if an edit inpaints, so that every row needs a mask."""
    return any(link.section.task == "inpaint" for link in edits_of(recipe))


def has_references(recipe: Recipe) -> bool:
    """True if an edit also uses a row's further images."""
    return any(link.section.references for link in edits_of(recipe))


def plain_chain(recipe: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """(``generate`` or ``edit``, its fields) of each step of a manifest's recipe."""
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
    """A copy of the recipe with some sections replaced. ``changed``: step name -> new section."""
    if not recipe.steps:
        return recipe.model_copy(update=dict(changed))
    links = chain_of(recipe)
    steps = [
        step.model_copy(update={"edit" if link.is_edit else "generate": changed.get(link.name, link.section)})
        for step, link in zip(recipe.steps, links, strict=True)
    ]
    return recipe.model_copy(update={"steps": steps})
