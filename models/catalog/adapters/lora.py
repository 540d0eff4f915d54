"""LoRAs that a recipe names, each resolved to one file. Imports no torch: the flow's process resolves them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagemill.data.config.adapters import Lora
from imagemill.data.errors import RecipeError
from imagemill.data.messages import shown, shown_path
from imagemill.models.catalog.adapters.lora_kinds import TAKE_A_LORA, is_adapter, why_unloadable
from imagemill.models.catalog.model_files import check_tensors
from imagemill.models.catalog.source import Locator, ModelSource
from imagemill.models.hash_cache import cached_hash


@dataclass(frozen=True, slots=True)
class LoraFile:
    """One LoRA, known exactly. Travels to the workers."""

    source: ModelSource
    """A local file, or a repository."""
    weight: float
    file: str | None = None
    """Name of the file in the repository."""

    @property
    def identity(self) -> dict[str, Any]:
        """All of it that decides pixels. The path of a local file does not."""
        which = {"file": self.source.files} if self.source.files else {**self.source.identity, "name": self.file}
        return {**which, "weight": self.weight}

    @property
    def name(self) -> str:
        """Its name in messages."""
        return f"{self.source.location}/{self.file}" if self.file else self.source.location


def find_loras(field: str, loras: Sequence[Lora], pipeline: str, locator: Locator) -> tuple[LoraFile, ...]:
    """The files that a section's ``lora`` names. Raises RecipeError and UnknownModel, naming the field.

    ``pipeline``: name of the class that takes them.
    """
    return tuple(_find(f"{field}.{number}", lora, pipeline, locator) for number, lora in enumerate(loras))


def _find(field: str, lora: Lora, pipeline: str, locator: Locator) -> LoraFile:
    found = locator.locate(field, "source", lora.source, lora.revision, "a .safetensors file, a folder that has one,")
    if isinstance(found, Path):
        path = found
        if path.is_dir():
            path = path / _choose(field, lora, sorted(file.name for file in path.glob("*.safetensors")))
        names = check_tensors(f"{field}.source", path, "LoRA", is_adapter)
        if why := why_unloadable(names, pipeline):
            raise RecipeError(f"{field}.source is {shown_path(path)}, which {why}: {TAKE_A_LORA}")
        return LoraFile(ModelSource(str(path.resolve()), files=cached_hash(path)), lora.weight)
    from imagemill.models.hub import list_weights

    # A repository's weight_name is believed: the worker that downloads the file reports one that is missing.
    name = lora.weight_name or _choose(
        field, lora, list_weights(f"{field}.source", found.location, found.commit, locator.cache_dir)
    )
    return LoraFile(found, lora.weight, name)


def _choose(field: str, lora: Lora, names: Sequence[str]) -> str:
    """The file that is meant among a folder's or repository's .safetensors files."""
    if lora.weight_name in names:
        return lora.weight_name
    listed = ", ".join(names) or "none"
    if lora.weight_name:
        raise RecipeError(f"{field}.weight_name is {shown(lora.weight_name)}; {shown(lora.source)} has: {listed}.")
    if len(names) == 1:
        return names[0]
    raise RecipeError(
        f"{field}.source is {shown(lora.source)}, which has {len(names)} .safetensors files ({listed}): name one in "
        f"{field}.weight_name."
    )
