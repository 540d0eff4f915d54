"""The LoRAs that a recipe names: which file each is, exactly. Imports no torch: the flow's process asks."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from imagemill.data.config.adapters import Lora
from imagemill.data.errors import RecipeError
from imagemill.models.catalog.model_files import hash_file

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class LoraFile:
    """One LoRA, known exactly. Travels to the workers."""

    source: str
    """A local file, or an 'org/name' repository."""
    weight: float
    revision: str | None = None
    """The commit of a repository; None for a local file."""
    file: str | None = None
    """Which file of the repository."""
    sha256: str | None = None
    """Of a local file's bytes."""

    @property
    def identity(self) -> dict[str, Any]:
        """All of it that decides pixels. Where a local file lies does not."""
        which = {"file": self.sha256} if self.sha256 else {"repository": self.source, "revision": self.revision}
        return {**which, **({} if self.file is None else {"name": self.file}), "weight": self.weight}

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.source}/{self.file}" if self.file else self.source


def find_loras(
    field: str,
    loras: Sequence[Lora],
    commit_of: Callable[[str, str | None], str] | None,
    cache_dir: str | None,
) -> tuple[LoraFile, ...]:
    """The files that a section's ``lora`` names. ``commit_of`` as in models.catalog.resolve. Raises RecipeError."""
    return tuple(_find(f"{field}.{number}", lora, commit_of, cache_dir) for number, lora in enumerate(loras))


def _find(
    field: str, lora: Lora, commit_of: Callable[[str, str | None], str] | None, cache_dir: str | None
) -> LoraFile:
    path = Path(lora.source).expanduser()
    if path.exists():
        if lora.revision:
            raise RecipeError(
                f"{field}.revision is {lora.revision!r}, but {lora.source!r} is on this machine, where it has no "
                "revisions: leave it out."
            )
        if path.is_dir():
            names = sorted(found.name for found in path.glob("*.safetensors"))
            path = path / _choose(field, lora, names)
        _check_names(field, path)
        return LoraFile(str(path.resolve()), lora.weight, sha256=hash_file(path))
    if not _REPOSITORY.fullmatch(lora.source) or path.suffix == ".safetensors":
        raise RecipeError(
            f"{field}.source is {lora.source!r}, which is neither a .safetensors file, a folder that has one, nor an "
            "'org/name' repository."
        )
    from imagemill.models.hub import list_weights, resolve_commit

    if _COMMIT.fullmatch(lora.revision or ""):
        commit = lora.revision
    elif commit_of:
        commit = commit_of(lora.source, lora.revision)
    else:
        commit = resolve_commit(f"{field}.source", lora.source, lora.revision, cache_dir)
    name = lora.weight_name or _choose(field, lora, list_weights(f"{field}.source", lora.source, commit, cache_dir))
    return LoraFile(lora.source, lora.weight, revision=commit, file=name)


def _choose(field: str, lora: Lora, names: Sequence[str]) -> str:
    """The file that is meant; a repository's ``weight_name`` is believed."""
    if lora.weight_name in names:
        return lora.weight_name
    listed = ", ".join(names) or "none"
    if lora.weight_name:
        raise RecipeError(f"{field}.weight_name is {lora.weight_name!r}; {lora.source!r} has: {listed}.")
    if len(names) == 1:
        return names[0]
    raise RecipeError(
        f"{field}.source is {lora.source!r}, which has {len(names)} .safetensors files ({listed}): name one in "
        f"{field}.weight_name."
    )


def _check_names(field: str, path: Path) -> None:
    """Raises RecipeError where a file is no LoRA at all. Whether it fits the model is seen when both are loaded."""
    try:
        with safe_open(path, framework="np") as file:
            names = list(file.keys())
    except (SafetensorError, OSError) as error:
        raise RecipeError(f"{field}.source is {str(path)!r}, which is not safetensors: {error}.") from error
    if not any("lora" in name.lower() for name in names):
        raise RecipeError(
            f"{field}.source is {str(path)!r}, which is no LoRA: of its {len(names)} tensors, such as "
            f"{min(names, default='none')!r}, none is named so."
        )
