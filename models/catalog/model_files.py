"""Files of a model in a local folder: hashes, and the facts that index and weights declare."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Set
from pathlib import Path

from safetensors import SafetensorError, safe_open

from imagemill.data.errors import RecipeError, one_line
from imagemill.data.identity import digest
from imagemill.data.messages import shown, shown_path
from imagemill.models.hash_cache import cached_hash

_DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
_DECIDES_PIXELS = (".json", ".safetensors", ".txt", ".model")

_TEMPLATES = (".jinja",)


def hash_model(folder: Path, templates: bool = True) -> str:
    """Hash over names and contents of the files in a model's folder that decide pixels.

    ``templates``: with the chat templates of language models that encode prompts, which version 0.1.0 left out.
    """
    files = model_files(folder, (*_DECIDES_PIXELS, *_TEMPLATES) if templates else _DECIDES_PIXELS)
    return digest([(str(path.relative_to(folder)), cached_hash(path)) for path in files])


def model_files(folder: Path, suffixes: tuple[str, ...] = _DECIDES_PIXELS) -> list[Path]:
    """The files in a model's folder that decide pixels, also those behind links: to files, and to the model's parts.

    Raises RecipeError where a part cannot be read.
    """
    parts = _linked_parts(folder)
    # Without an index, as a ControlNet's, all of the folder is one part.
    return sorted(path for path in _walk(folder, frozenset(), parts is None, parts or set()) if path.suffix in suffixes)


def _walk(folder: Path, above: Set[Path], follows: bool, parts: Set[str] = frozenset()) -> Iterator[Path]:
    """All files. A link to a folder is followed where it is named in ``parts``, and inside of these, or ``follows``."""
    above = above | {folder.resolve()}
    try:
        paths = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except PermissionError as error:
        if not follows:
            return
        raise RecipeError(f"{shown_path(folder)} is part of a model, and cannot be read: allow it.") from error
    for path in paths:
        is_part = follows or path.name in parts
        # A link to a folder that holds it has nothing new, and no end.
        if path.is_dir() and (is_part or not path.is_symlink()) and path.resolve() not in above:
            yield from _walk(path, above, is_part)
        elif path.is_file():
            yield path


def _linked_parts(folder: Path) -> set[str] | None:
    """Names of the parts that a folder's index lists, each of which diffusers loads; None without an index."""
    try:
        found = json.loads((folder / "model_index.json").read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        # class_name() says so.
        return set()
    return (
        {name for name, kind in found.items() if isinstance(kind, list) and any(kind)}
        if isinstance(found, dict)
        else set()
    )


def weights_on_disk(models: Iterable[Path]) -> int:
    """Bytes of the weights in models' folders, or of single files, each once."""
    return sum(
        path.stat().st_size
        for model in set(models)
        for path in ([model] if model.is_file() else model_files(model, (".safetensors",)))
    )


def saved_dtype(field: str, folder: Path) -> str | None:
    """The dtype of a folder's largest weights; None where a pipeline cannot be loaded in it."""
    weights = sorted(model_files(folder, (".safetensors",)), key=lambda path: path.stat().st_size)
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


def check_tensors(field: str, path: Path, kind: str, fits: Callable[[str], bool]) -> list[str]:
    """The names of a file's tensors. Raises RecipeError where none ``fits``: the file is no ``kind`` at all.

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
    return names


def _why(error: Exception) -> str:
    """The parser's words, without what it quotes of the file."""
    return re.split(r"['\"`]", one_line(error))[0].strip(" :")
