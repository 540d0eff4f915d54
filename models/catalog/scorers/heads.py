"""Heads on a scorer's image embedding, each resolved to one safetensors file. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagemill.data.errors import RecipeError
from imagemill.data.messages import shown
from imagemill.models.catalog.model_files import check_tensors
from imagemill.models.catalog.source import Locator, ModelSource
from imagemill.models.hash_cache import cached_hash


@dataclass(frozen=True, slots=True)
class HeadFile:
    """One head, known exactly. Travels to the workers."""

    source: ModelSource
    """A local file, or a repository."""
    file: str | None = None
    """Name of the file in the repository; None for a local file."""

    @property
    def identity(self) -> dict[str, Any]:
        """All of it that decides scores. The path of a local file does not."""
        return {"file": self.source.files} if self.source.files else {**self.source.identity, "name": self.file}

    @property
    def name(self) -> str:
        """Its name in messages."""
        return f"{self.source.location}/{self.file}" if self.file else self.source.location


def find_head(field: str, name: str, revision: str | None, locator: Locator) -> HeadFile:
    """The file that a scorer's ``head`` names; ``field`` is the scorer's place in the recipe.

    Raises RecipeError and UnknownModel.
    """
    found = locator.locate(field, "head", name, revision, "a .safetensors file, a folder that has one,")
    if isinstance(found, Path):
        path = found
        if path.is_dir():
            path = path / _only_one(field, name, [file.name for file in path.glob("*.safetensors")])
        check_tensors(f"{field}.head", path, "head", lambda tensor: tensor.endswith("weight"))
        return HeadFile(ModelSource(str(path.resolve()), files=cached_hash(path)))
    from imagemill.models.hub import list_weights

    listed = list_weights(f"{field}.head", found.location, found.commit, locator.cache_dir)
    return HeadFile(found, _only_one(field, name, [file for file in listed if "/" not in file]))


def _only_one(field: str, name: str, files: list[str]) -> str:
    if len(files) == 1:
        return files[0]
    listed = ", ".join(sorted(files)) or "none"
    raise RecipeError(
        f"{field}.head is {shown(name)}, which has {len(files)} .safetensors files ({listed}), and a head is one: "
        "name the file on this machine, or a folder or repository with that file alone."
    )
