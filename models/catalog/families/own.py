"""Checks of a user's models file against the shipped catalog: its models name families, and its families are new."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagemill.data.errors import RecipeError
from imagemill.data.messages import shown, shown_path

if TYPE_CHECKING:
    from imagemill.models.catalog.entries import Catalog, ModelsFile


def check_own(field: str, path: str, own: ModelsFile, shipped: Catalog) -> None:
    """Raises RecipeError, naming the field, where the user's file does not fit the shipped catalog."""
    for name in own.families:
        if name in shipped.families:
            raise RecipeError(
                f"{field}: families.{name} in {shown_path(path)} is a family of imagemill's, which calls it as it is "
                "tested: leave it out, and put other settings into an entry of models."
            )
    families = {**shipped.families, **own.families}
    for name, entry in own.models.items():
        if entry.family not in families:
            raise RecipeError(
                f"{field}: models.{name}.family in {shown_path(path)} is {shown(entry.family)}; imagemill can call: "
                f"{', '.join(shipped.families)}. Describe another one under families (docs/reference/models.md)."
            )
        unable = set(entry.tasks or ()) - set(families[entry.family].tasks)
        if unable:
            raise RecipeError(
                f"{field}: models.{name}.tasks in {shown_path(path)} names {shown(min(unable))}; a {entry.family} can: "
                f"{', '.join(families[entry.family].tasks)}."
            )
        scheduler = entry.preset and entry.preset.scheduler
        if scheduler and scheduler not in families[entry.family].schedulers:
            raise RecipeError(
                f"{field}: models.{name}.preset in {shown_path(path)} has the scheduler {shown(scheduler)}; a "
                f"{entry.family} can generate with: {', '.join(families[entry.family].schedulers) or 'its own alone'}. "
                "Give steps, guidance_scale and one of these, or leave its scheduler out."
            )
