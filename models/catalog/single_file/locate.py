"""Source of a model that is one file: the file itself, known by its hash, once it has all parts that are needed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from imagemill.data.errors import RecipeError, UnknownModel
from imagemill.data.messages import shown, shown_path
from imagemill.models.catalog.single_file.checkpoint import check_whole, read_checkpoint
from imagemill.models.catalog.source import ModelSource
from imagemill.models.hash_cache import cached_hash

_SAME_SHAPES = ("FluxKontextPipeline", "FluxPipeline")
"""Family of an entry, and of its file: nothing in a file of Kontext differs from one of FLUX.1."""


def locate_checkpoint(field: str, path: Path, given: Iterable[str], name: str, family: str | None) -> ModelSource:
    """The source of a single file. ``given``: names of parts that are loaded in place of those in the file.

    ``name``: of the model, in the recipe; ``family``: of its entry in a models file; None: it has none, and the file
    decides. Raises UnknownModel and RecipeError.
    """
    if not path.is_file():
        raise UnknownModel(f"{field} is {shown(name)}, but its file {shown_path(path)} does not exist.")
    found = read_checkpoint(field, path.resolve())
    if family and family != found.family and (family, found.family) != _SAME_SHAPES:
        raise RecipeError(
            f"{field} is {shown(name)}, whose family is {family}, but its file {shown_path(path)} is a {found.family}: "
            "correct the entry of the models file."
        )
    check_whole(field, found, given)
    return ModelSource(str(path.resolve()), files=cached_hash(path), is_checkpoint=True)
