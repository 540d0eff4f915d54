"""Files of a model in a local folder: hashes, and what index and weights say of themselves."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from safetensors import SafetensorError, safe_open

from imagemill.data.errors import RecipeError, one_line
from imagemill.data.identity import digest
from imagemill.data.messages import shown, shown_path
from imagemill.data.storage.locations import hash_file

_DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
_DECIDES_PIXELS = (".json", ".safetensors", ".txt", ".model")


def hash_model(folder: Path) -> str:
    """Hash over names and contents of the files in a model's folder that decide pixels."""
    return digest([(str(path.relative_to(folder)), hash_file(path)) for path in _model_files(folder)])


def _model_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix in _DECIDES_PIXELS and path.is_file() and not hidden:
            yield path


def weights_on_disk(folders: Iterable[Path]) -> int:
    """Bytes of the weights in models' folders, each folder once."""
    return sum(path.stat().st_size for folder in set(folders) for path in folder.rglob("*.safetensors"))


def saved_dtype(field: str, folder: Path) -> str | None:
    """The dtype of a folder's largest weights; None where a pipeline cannot be loaded in it."""
    weights = sorted(folder.rglob("*.safetensors"), key=lambda path: path.stat().st_size)
    if not weights:
        return None
    try:
        with safe_open(weights[-1], framework="np") as file:
            names = list(file.keys())
            return _DTYPES.get(file.get_slice(names[0]).get_dtype()) if names else None
    except SafetensorError as error:
        # Most often a Git LFS pointer that was never replaced by the file.
        raise RecipeError(
            f"{field} is {shown_path(folder)}, whose {weights[-1].relative_to(folder)} is not safetensors: "
            f"{_why(error)}. "
            "Copy or download the model again."
        ) from error


def check_tensors(field: str, path: Path, kind: str, fits: Callable[[str], bool]) -> None:
    """Raises RecipeError where no tensor's name ``fits``: the file is no ``kind`` at all.

    Whether it fits the step's model turns out when both are loaded.
    """
    try:
        with safe_open(path, framework="np") as file:
            names = list(file.keys())
    except (SafetensorError, OSError) as error:
        raise RecipeError(f"{field} is {shown_path(path)}, which is not safetensors: {_why(error)}.") from error
    if not any(map(fits, names)):
        raise RecipeError(
            f"{field} is {shown_path(path)}, which is no {kind}: of its {len(names)} tensors, such as "
            f"{shown(min(names, default='none'))}, none is named so."
        )


def _why(error: Exception) -> str:
    """The parser's words, without what it quotes of the file."""
    return re.split(r"['\"`]", one_line(error))[0].strip(" :")
