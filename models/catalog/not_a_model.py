"""Messages for what a recipe names as a model and is none that can be loaded, each with what to do instead."""

from __future__ import annotations

import difflib
import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from imagemill.data.errors import RecipeError, UnknownModel, one_line
from imagemill.data.messages import cut, shown
from imagemill.models.catalog.entries import Catalog
from imagemill.models.catalog.single_file.checkpoint import SINGLE_FILES

INDEX = "model_index.json"
MODULAR_INDEX = "modular_model_index.json"

CHECKPOINTS = (".safetensors", ".ckpt", ".gguf", ".sft")
"""Suffixes of files that hold a whole model, or its largest part."""

NEAREST = 3
"""Most names of the catalog that a message offers."""


def not_a_model(field: str, name: str, catalog: Catalog) -> UnknownModel:
    """The error for a name that is neither in the catalog, nor a folder with an index, nor a repository."""
    path = Path(name).expanduser()
    if path.suffix.lower() in CHECKPOINTS:
        return UnknownModel(f"{field} is {shown(name)}, {_checkpoint(path)}")
    if path.is_dir():
        return UnknownModel(f"{field} is {shown(name)}, {_folder(path)}")
    nearest = ", ".join(nearest_names(name, catalog))
    return UnknownModel(
        f"{field} is {shown(name)}, which is neither in the catalog (nearest: {nearest}; `imagemill models` lists all "
        f"{len(catalog.models)}), a local folder with {INDEX}, nor an 'org/name' repository."
    )


def nearest_names(name: str, catalog: Catalog) -> list[str]:
    """The catalog's names that are most like this one, the nearest first."""
    known = {word.lower(): key for key in catalog.models for word in catalog.names_of(key)}
    close = difflib.get_close_matches(name.lower()[:100], known, len(known), 0)
    return list(dict.fromkeys(known[word] for word in close))[:NEAREST]


def class_name(field: str, name: str, index: str) -> str:
    """The pipeline class that a model_index.json names. Raises RecipeError where it names none of diffusers."""
    try:
        found = json.loads(index)
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{field} is {shown(name)}, whose {INDEX} is not JSON: {one_line(error)}.") from error
    kind = found.get("_class_name") if isinstance(found, dict) else None
    if isinstance(kind, str):
        return kind
    if isinstance(kind, Sequence):
        raise RecipeError(
            f"{field} is {shown(name)}, whose {INDEX} names its own code as pipeline ({shown(kind)}). "
            "imagemill runs no code of a model, and never gives trust_remote_code: take a model with a pipeline of "
            "diffusers."
        )
    raise RecipeError(
        f"{field} is {shown(name)}, whose {INDEX} names no pipeline class (_class_name): save the model again with "
        "diffusers' save_pretrained()."
    )


def uncallable(field: str, name: str, kind: str, catalog: Catalog) -> RecipeError:
    """The error for a pipeline class of diffusers that is no family of the catalog."""
    return RecipeError(
        f"{field} is {shown(name)}, a {cut(kind)}, which imagemill cannot call. It "
        f"can call {', '.join(catalog.families)}, and others that make an image of a prompt and a generator. "
        "Describe yours under families in a models file (docs/reference/models.md)."
    )


def _checkpoint(path: Path) -> str:
    if not path.exists():
        return "a file that does not exist: name a catalog model, a local folder, or an 'org/name' repository."
    if path.suffix.lower() == ".gguf":
        return (
            "a file with one part's quantized weights alone: name the model's folder, repository or catalog name, and "
            "this file in the step's parts, such as parts: {transformer: FILE}."
        )
    source, target = (
        json.dumps(str(it), ensure_ascii=False) for it in (path.absolute(), path.absolute().with_suffix(""))
    )
    code = (
        f"from diffusers import StableDiffusionXLPipeline as P; P.from_single_file({source}).save_pretrained({target})"
    )
    return (
        "a checkpoint of pickled weights. To open such a file can run its code, so imagemill loads safetensors alone. "
        f"If you trust it, convert it, and name the new folder: python -c {shlex.quote(code)} (for a checkpoint of "
        "another family with its class: StableDiffusionPipeline for Stable Diffusion 1.5 and 2.1, ...)."
    )


def _folder(path: Path) -> str:
    if (path / MODULAR_INDEX).is_file():
        return (
            f"a folder with a modular pipeline ({MODULAR_INDEX} alone), which imagemill cannot call: take the model's "
            f"version for a plain diffusers pipeline, with {INDEX}."
        )
    found = sorted(file.name for file in path.iterdir() if file.suffix.lower() in CHECKPOINTS)
    if found and not (path / "config.json").is_file():
        if found[0].lower().endswith(SINGLE_FILES):
            return f"a folder without {INDEX}. If its {shown(found[0])} holds a whole model, name that file."
        return f"a folder without {INDEX}. Its {shown(found[0])} is {_checkpoint(path / found[0])}"
    return f"a folder without {INDEX}: name the one that diffusers' save_pretrained() wrote."
