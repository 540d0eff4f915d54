"""IP-Adapter that a recipe names, resolved to exact files. Imports no torch: the flow's process resolves it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagemill.data.config.adapters import IpAdapter
from imagemill.data.errors import RecipeError
from imagemill.data.messages import shown, shown_path
from imagemill.models.catalog.model_files import check_tensors, hash_model
from imagemill.models.catalog.source import Locator, ModelSource, joined
from imagemill.models.hash_cache import cached_hash

_PREFIXES = ("image_proj.", "ip_adapter.")
"""Of the names of an IP-Adapter's tensors."""


@dataclass(frozen=True, slots=True)
class IpAdapterFiles:
    """One IP-Adapter with its image encoder, known exactly, and how strongly it counts. Travels to the workers."""

    source: ModelSource
    """A local folder, whose hash is that of the weights, or a repository."""
    file: str
    """The weights' path in it."""
    encoder: str
    """The path of the image encoder's folder in it."""
    encoder_files: str | None
    """Hash of a local image encoder; None for a repository."""
    scale: float

    @property
    def weights(self) -> dict[str, Any]:
        """Identity of its weights."""
        if self.source.files:
            return {"file": self.source.files, "encoder": self.encoder_files}
        return {**self.source.identity, "file": self.file, "encoder": self.encoder}

    @property
    def identity(self) -> dict[str, Any]:
        """All of it that decides pixels."""
        return {**self.weights, "scale": self.scale}

    @property
    def name(self) -> str:
        """Its name in messages."""
        return f"{self.source.location}/{self.file}"


def find_ip_adapter(field: str, section: IpAdapter, locator: Locator) -> IpAdapterFiles:
    """The files that a step's ``ip_adapter`` section names; ``field`` is where the recipe has it.

    Raises RecipeError and UnknownModel.
    """
    if not section.weight_name.endswith(".safetensors"):
        raise RecipeError(
            f"{field}.weight_name is {shown(section.weight_name)}: imagemill loads safetensors only, and most "
            "IP-Adapters "
            "are published in that format too. Name that file."
        )
    file = joined(section.subfolder, section.weight_name)
    # As in diffusers' load_ip_adapter: a path is from the top, a name is beside the weights.
    is_path = "/" in section.image_encoder
    encoder = section.image_encoder if is_path else joined(section.subfolder, section.image_encoder)
    found = locator.locate(field, "model", section.model, section.revision, "a folder on this machine")
    if isinstance(found, ModelSource):
        return IpAdapterFiles(found, file, encoder, None, section.scale)
    _check(field, section, found / file, found / encoder)
    source = ModelSource(str(found.resolve()), files=cached_hash(found / file))
    return IpAdapterFiles(source, file, encoder, hash_model(found / encoder), section.scale)


def _check(field: str, section: IpAdapter, weights: Path, encoder: Path) -> None:
    """Raises RecipeError where local files are no IP-Adapter with its image encoder."""
    if not weights.is_file():
        there = ", ".join(sorted(file.name for file in weights.parent.glob("*.safetensors"))) or "none"
        raise RecipeError(
            f"{field}.weight_name is {shown(weights.name)}, which is not in {shown_path(weights.parent)}; the "
            ".safetensors "
            f"there: {there}."
        )
    check_tensors(f"{field}.weight_name", weights, "IP-Adapter", lambda name: name.startswith(_PREFIXES))
    if not (encoder / "config.json").is_file():
        raise RecipeError(
            f"{field}.image_encoder is {shown(section.image_encoder)}, but {shown_path(encoder)} has no config.json: "
            "name the "
            "folder of the adapter's image encoder."
        )
