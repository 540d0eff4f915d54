"""Selection of the files that a build loads from a model's repository: index, each part's settings and safetensors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Set
from pathlib import Path, PurePosixPath

from imagemill.data.errors import RecipeError
from imagemill.data.messages import shown, shown_path
from imagemill.models.catalog.weight_files import VARIANTS, by_variant, common_variant

_SETTINGS = (".json", ".txt", ".model", ".jinja")
_WEIGHTS_INDEX = re.compile(r"(model|diffusion_pytorch_model|pytorch_model)\.safetensors\.index(?:\.(\w+))?\.json")
_ALL_WEIGHTS = (".safetensors", ".bin", ".msgpack", ".h5", ".ckpt", ".pt")
_HAVE_WEIGHTS = ("text_encoder", "transformer", "unet", "vae", "image_encoder", "safety_checker")
"""Prefixes of the names of parts with weights."""


def parts_of(index: str) -> list[str]:
    """The names of the parts in the text of a model_index.json."""
    fields = json.loads(index)
    return [name for name, value in fields.items() if isinstance(value, list) and value and value[0] is not None]


def needed_files(repository: str, index: str, paths: Iterable[str]) -> list[str]:
    """The files that a pipeline is loaded from: no other precisions, frameworks or single-file checkpoints.

    A variant is taken where a part has nothing else. Raises RecipeError where a part has weights, but none that
    imagemill loads.
    """
    parts: dict[str, list[str]] = {part: [] for part in parts_of(index)}
    for path in sorted(paths):
        folder, _, name = path.rpartition("/")
        if folder in parts:
            parts[folder].append(name)
    found = {part: by_variant(names) for part, names in parts.items()}
    variant = common_variant(found.values())
    chosen = ["model_index.json"]
    for part, names in parts.items():
        weights = [name for name in names if name.endswith(_ALL_WEIGHTS)]
        taken = variant if variant in found[part] else ""
        if weights and taken not in found[part]:
            raise RecipeError(
                f"the repository {shown(repository)} has its {part} only as {', '.join(weights)}: imagemill loads only "
                f"safetensors with the standard names, or those of one variant: {', '.join(VARIANTS)}."
            )
        chosen += [f"{part}/{name}" for name in names if _is_setting(name, taken) or name in found[part].get(taken, ())]
    return chosen


def needed_of_scorer(repository: str, paths: Iterable[str]) -> list[str]:
    """The files that a scorer's model or head is loaded from: settings and safetensors at the top of its repository.

    Raises RecipeError where it has weights, but none that imagemill loads.
    """
    names = sorted(path for path in paths if "/" not in path)
    is_model = "config.json" in names and any(by_variant(names))
    weights = by_variant(names).get("", []) if is_model else [name for name in names if name.endswith(".safetensors")]
    if not weights:
        found = ", ".join(name for name in names if name.endswith(_ALL_WEIGHTS)) or "none"
        raise RecipeError(
            f"the repository {shown(repository)} has these weights at its top: {found}. imagemill loads only "
            "safetensors: model.safetensors, in one file or in shards, or a head's one file."
        )
    return [name for name in names if _is_setting(name, "") or name in weights]


def _is_setting(name: str, variant: str) -> bool:
    """True if a part's file has settings, or is the index of the weights of this variant ("" for none)."""
    if name.endswith(".json") and ".index." in name:
        index = _WEIGHTS_INDEX.fullmatch(name)
        return index is not None and (index[2] or "") == variant
    return name.endswith(_SETTINGS)


def is_whole(folder: Path) -> bool:
    """True if a model's folder has all files that it is loaded from."""
    if not (folder / "model_index.json").is_file():
        return _scorer_is_whole(folder)
    return all(_part_is_whole(folder / name) for name in parts_of((folder / "model_index.json").read_text("utf-8")))


def _scorer_is_whole(folder: Path) -> bool:
    """True if a folder has the weights of a scorer's model or head, and all shards of them."""
    names = _names(folder)
    return any(name.endswith(".safetensors") for name in names) and _has_shards(folder, names)


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.exists()} if folder.is_dir() else set()


def _has_shards(folder: Path, names: Set[str]) -> bool:
    """True if all shards that an index lists exist."""
    for name in filter(_WEIGHTS_INDEX.fullmatch, names):
        weight_map: Mapping[str, str] = json.loads((folder / name).read_text("utf-8"))["weight_map"]
        if not set(weight_map.values()) <= names:
            return False
    return True


def _part_is_whole(part: Path) -> bool:
    names = _names(part)
    if not _has_shards(part, names):
        return False
    if part.name.startswith(_HAVE_WEIGHTS):
        return bool({"", *VARIANTS} & set(by_variant(names)))
    return bool(names)


def safe_path(folder: Path, path: str) -> Path:
    """Path of a repository's file in a folder. Raises RecipeError for a path that leads out of it."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts:
        raise RecipeError(f"the repository names a file {shown_path(path)}, which lies outside of it.")
    return folder.joinpath(*pure.parts)
