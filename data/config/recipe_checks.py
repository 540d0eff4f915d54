"""Checks of a recipe as a whole: its columns, and the order of its steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from imagemill.data.config.columns import GUIDES, Columns
from imagemill.data.config.steps import Edit, Generate
from imagemill.data.messages import shown

if TYPE_CHECKING:
    from imagemill.data.config.recipe import Recipe


def check_columns(columns: Columns, sections: Mapping[str, Generate | Edit]) -> None:
    """Raise ValueError for a column that the recipe names and no step reads. ``sections``: those of the steps."""
    for role, field in GUIDES.items():
        name = getattr(columns, role)
        if name != Columns.model_fields[role].default and not any(
            getattr(section, field, None) for section in sections.values()
        ):
            raise ValueError(
                f"columns.{role} is {shown(name)}, but no 'generate' section has the {field} that would read "
                f"it: set generate.{field}, or leave out columns.{role}"
            )


def check_steps(recipe: Recipe, sections: Mapping[str, Generate | Edit]) -> None:
    """Raise ValueError if the steps make no chain. ``sections``: place in the recipe -> section, in order."""
    if recipe.steps and (recipe.generate is not None or recipe.edit is not None):
        raise ValueError("'steps' is given as well as 'generate' or 'edit': move them all into 'steps'")
    for number, step in enumerate(recipe.steps):
        if number and step.generate is not None:
            raise ValueError(f"steps.{number} generates, but a chain generates first and then edits")
    edits = [section for section in sections.values() if isinstance(section, Edit)]
    edits_of_row_images = [] if len(edits) < len(sections) else edits[:1]
    for edit in edits:
        if edit.references and edit not in edits_of_row_images:
            raise ValueError("'references' are images from the row: only the first edit of given images has them")
    for number, edit in enumerate(edits[1:], 2):
        if not edit.instructions:
            raise ValueError(
                f"the chain's edit number {number} has no 'instructions': a row's own are for its first edit only"
            )
    _check_given(recipe, sections)
    if not sections and recipe.sweep is not None:
        raise ValueError("'sweep' has settings for images to generate, but the recipe generates nothing: take it out")
    if not sections and recipe.columns.model is not None:
        raise ValueError(
            f"columns.model is {shown(recipe.columns.model)}, but the recipe generates nothing: leave it out"
        )


def _check_given(recipe: Recipe, sections: Mapping[str, Generate | Edit]) -> None:
    if sections:
        if recipe.given is not None:
            raise ValueError(
                f"'given' judges images that rows supply, but the recipe has {shown(next(iter(sections)))}: move "
                "given.select into that section, or take out 'given'"
            )
        return
    if not recipe.scorers and not recipe.llm and recipe.duplicates is None and recipe.splits is None:
        raise ValueError(
            "nothing to generate: give a 'generate' section, an 'edit' section, or both "
            "('generate: {}' uses the defaults); to judge the rows' own images, give 'scorers', 'duplicates', "
            "'splits' or 'llm'"
        )
