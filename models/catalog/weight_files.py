"""Weight files of a saved pipeline's parts: which are loaded, in which variant, and how others are converted.

A part is a folder of the pipeline's with a config and its weights, in one file or in shards that an index lists. Beside
or in place of them may lie a variant, such as ``model.fp16.safetensors``, and pickled ones, which are never loaded.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from imagemill.data.errors import RecipeError
from imagemill.data.messages import shown

VARIANTS = ("fp16", "bf16", "fp32")
"""Variants that are loaded where a part has nothing else; the first one that all such parts have."""

NEVER_LOADED = ("safety_checker",)
"""Parts that a pipeline is loaded without."""

_NAME = re.compile(
    r"(?:model|diffusion_pytorch_model|pytorch_model)(?:\.(?P<first>[a-z]\w*))?"
    r"(?:-\d{5}-of-\d{5})?(?:\.(?P<last>[a-z]\w*))?\.safetensors"
)
"""Newer versions of diffusers write the variant before the shard's number, older ones after it."""

_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".msgpack", ".h5")


def loaded_parts(index: Mapping[str, Any]) -> list[str]:
    """The names of the parts that a model_index.json lists, but those that are never loaded."""
    listed = [name for name, value in index.items() if isinstance(value, list) and value and value[0] is not None]
    return [name for name in listed if not name.startswith("_") and name not in NEVER_LOADED]


def read_index(folder: Path) -> dict[str, Any]:
    """A model's model_index.json; empty where it has none that can be read."""
    try:
        index = json.loads((folder / "model_index.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return index if isinstance(index, dict) else {}


def variant_of(folder: Path) -> str | None:
    """The variant that a model's folder is loaded in; None if each of its parts has files without one."""
    return common_variant(by_variant(_names(folder / part)) for part in loaded_parts(read_index(folder)))


def part_variant(part: Path) -> str | None:
    """The variant that one part is loaded in by itself; None if it has files without one."""
    return common_variant([by_variant(_names(part))])


def common_variant(parts: Iterable[Mapping[str, Any]]) -> str | None:
    """The variant that all parts have which have files of variants alone. Each part: its variants, "" for none."""
    only = [found for found in parts if found and "" not in found]
    return next((name for name in VARIANTS if all(name in found for found in only)), None) if only else None


def by_variant(names: Iterable[str]) -> dict[str, list[str]]:
    """Variant, "" for none -> the safetensors files with the names that are loaded, in order."""
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        if match := _NAME.fullmatch(name):
            found.setdefault(match["first"] or match["last"] or "", []).append(name)
    return found


def loaded_files(part: Path, variant: str | None = None) -> list[Path]:
    """The weight files that a part is loaded from: no other precision, and none beside its shards."""
    found = by_variant(_names(part))
    wanted = variant if variant in found else ""
    names = found.get(wanted, [])
    shards = _listed(part, wanted)
    return [part / name for name in names if (name in shards if shards else True)]


def check_weights(field: str, name: str, folder: Path) -> None:
    """Raises RecipeError where a part of a model's folder has pickled weights alone, with the command that helps."""
    for part in loaded_parts(read_index(folder)):
        names = sorted(_names(folder / part))
        pickled = [file for file in names if file.endswith(_PICKLED)]
        if pickled and not any(file.endswith(".safetensors") for file in names):
            variant = next((word for word in VARIANTS if any(f".{word}." in file for file in pickled)), None)
            raise RecipeError(
                f"{field} is {shown(name)}, whose {part} has only {shown(pickled[0])}. To open such a file can run its "
                "code, so imagemill loads safetensors alone. If you trust it, convert the model, and name the new "
                f"folder: {conversion(folder, variant)}"
            )


def conversion(folder: Path, variant: str | None) -> str:
    """The command that saves a model's folder as safetensors in another folder."""
    source, target = (json.dumps(text, ensure_ascii=False) for text in (str(folder), f"{folder}-safetensors"))
    chosen = f", variant={json.dumps(variant)}" if variant else ""
    code = (
        f"from diffusers import DiffusionPipeline as P; P.from_pretrained({source}{chosen}).save_pretrained({target})"
    )
    return f"python -c {shlex.quote(code)}"


def _listed(part: Path, variant: str) -> set[str]:
    """The shards that a part's index lists; empty where it has none, or its weights in one file."""
    dotted = f".{variant}" if variant else ""
    for path in part.glob(f"*.safetensors.index{dotted}.json"):
        try:
            listed = set(json.loads(path.read_bytes())["weight_map"].values())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return set()
        return listed
    return set()


def _names(part: Path) -> list[str]:
    return [path.name for path in part.iterdir() if path.is_file()] if part.is_dir() else []
