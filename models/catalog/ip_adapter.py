"""The IP-Adapter that a recipe names: which files it is, exactly. Imports no torch: the flow's process asks."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from imagemill.data.config.adapters import IpAdapter
from imagemill.data.errors import RecipeError
from imagemill.models.catalog.model_files import hash_file, hash_model

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_PREFIXES = ("image_proj.", "ip_adapter.")
"""How the tensors of an IP-Adapter are named."""


@dataclass(frozen=True, slots=True)
class IpAdapterFiles:
    """One IP-Adapter with its image encoder, known exactly, and how strongly it counts. Travels to the workers."""

    source: str
    """A local folder, or an 'org/name' repository."""
    file: str
    """The weights' path in it."""
    encoder: str
    """The path of the image encoder's folder in it."""
    revision: str | None
    """The commit of a repository; None for a folder."""
    hashes: tuple[str, str] | None
    """Of a folder's weights and of its image encoder; None for a repository."""
    scale: float

    @property
    def weights(self) -> dict[str, Any]:
        """Which weights it has. Where a folder lies does not count."""
        if self.hashes:
            return {"file": self.hashes[0], "encoder": self.hashes[1]}
        return {"repository": self.source, "revision": self.revision, "file": self.file, "encoder": self.encoder}

    @property
    def identity(self) -> dict[str, Any]:
        """All of it that decides pixels."""
        return {**self.weights, "scale": self.scale}

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.source}/{self.file}"


def find_ip_adapter(field: str, asked: IpAdapter, commit_of: Callable[[str, str | None], str]) -> IpAdapterFiles:
    """The files that a section's ``ip_adapter`` names.

    ``field`` is where the recipe has it, ``commit_of`` as in models.catalog.resolve. Raises RecipeError.
    """
    if not asked.weight_name.endswith(".safetensors"):
        raise RecipeError(
            f"{field}.weight_name is {asked.weight_name!r}: imagemill loads safetensors alone, and most IP-Adapters "
            "are published so too. Name that file."
        )
    file = "/".join(filter(None, [asked.subfolder, asked.weight_name]))
    # As diffusers' load_ip_adapter has it: a path is from the top, a name is beside the weights.
    is_path = "/" in asked.image_encoder
    encoder = asked.image_encoder if is_path else "/".join(filter(None, [asked.subfolder, asked.image_encoder]))
    path = Path(asked.model).expanduser()
    if path.is_dir():
        if asked.revision:
            raise RecipeError(
                f"{field}.revision is {asked.revision!r}, but {asked.model!r} is on this machine, where it has no "
                "revisions: leave it out."
            )
        _check(field, path / file)
        if not (path / encoder / "config.json").is_file():
            raise RecipeError(
                f"{field}.image_encoder is {asked.image_encoder!r}, but {str(path / encoder)!r} has no config.json: "
                "name the folder of the adapter's image encoder."
            )
        hashes = hash_file(path / file), hash_model(path / encoder)
        return IpAdapterFiles(str(path.resolve()), file, encoder, None, hashes, asked.scale)
    if not _REPOSITORY.fullmatch(asked.model):
        raise RecipeError(
            f"{field}.model is {asked.model!r}, which is neither a folder on this machine nor an 'org/name' repository."
        )
    is_commit = _COMMIT.fullmatch(asked.revision or "")
    commit = asked.revision if is_commit else commit_of(asked.model, asked.revision)
    return IpAdapterFiles(asked.model, file, encoder, commit, None, asked.scale)


def _check(field: str, path: Path) -> None:
    """Raises RecipeError where a file is no IP-Adapter. Whether it fits the model is seen when both are loaded."""
    if not path.is_file():
        there = ", ".join(sorted(found.name for found in path.parent.glob("*.safetensors"))) or "none"
        raise RecipeError(
            f"{field}.weight_name is {path.name!r}, which is not in {str(path.parent)!r}; the .safetensors "
            f"there: {there}."
        )
    try:
        with safe_open(path, framework="np") as file:
            names = list(file.keys())
    except (SafetensorError, OSError) as error:
        raise RecipeError(f"{field}.weight_name is {str(path)!r}, which is not safetensors: {error}.") from error
    if not any(name.startswith(_PREFIXES) for name in names):
        raise RecipeError(
            f"{field}.weight_name is {str(path)!r}, which is no IP-Adapter: of its {len(names)} tensors, such as "
            f"{min(names, default='none')!r}, none is named so."
        )
