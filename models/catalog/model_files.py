"""The files of a model in a local folder: what they are hashed to, and what they say of themselves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from safetensors import SafetensorError, safe_open

from imagemill.data.errors import RecipeError
from imagemill.data.identity import digest

_DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
_DECIDES_PIXELS = (".json", ".safetensors", ".txt", ".model")


def hash_model(folder: Path) -> str:
    """A hash over names and contents of the files in a model's folder that decide pixels."""
    return digest([(str(path.relative_to(folder)), hash_file(path)) for path in _model_files(folder)])


def _model_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix in _DECIDES_PIXELS and path.is_file() and not hidden:
            yield path


def hash_file(path: Path) -> str:
    """sha256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_on_disk(folders: Iterable[Path]) -> int:
    """Bytes of the weights in these models' folders, each folder once."""
    return sum(path.stat().st_size for folder in set(folders) for path in folder.rglob("*.safetensors"))


def class_name(field: str, name: str, index: str) -> str | None:
    """The pipeline class that a model_index.json names. Raises RecipeError where it is none."""
    try:
        found = json.loads(index)
    except ValueError as error:
        raise RecipeError(f"{field} is {name!r}, whose model_index.json is not JSON: {error}.") from error
    return found.get("_class_name") if isinstance(found, dict) else None


def saved_dtype(field: str, folder: Path) -> str | None:
    """The dtype of a folder's largest weights; None where it has none that a pipeline can be loaded in."""
    weights = sorted(folder.rglob("*.safetensors"), key=lambda path: path.stat().st_size)
    if not weights:
        return None
    try:
        with safe_open(weights[-1], framework="np") as file:
            names = list(file.keys())
            return _DTYPES.get(file.get_slice(names[0]).get_dtype()) if names else None
    except SafetensorError as error:
        # Most often the pointer that Git leaves in the place of a large file.
        raise RecipeError(
            f"{field} is {str(folder)!r}, whose {weights[-1].relative_to(folder)} is not safetensors: {error}. "
            "Copy or download the model again."
        ) from error
