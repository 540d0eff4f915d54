"""Parts whose files are quantized already: with which package, and whether that is installed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from imagemill.data.errors import RecipeError, UnknownModel
from imagemill.data.messages import shown, shown_path
from imagemill.models.catalog.external_parts import ExternalPart
from imagemill.models.catalog.families.packages import is_installed
from imagemill.models.catalog.source import Locator, ModelSource, joined
from imagemill.models.catalog.weight_files import loaded_parts

PACKAGES = ("bitsandbytes", "torchao")
"""Methods in a config whose weights are loaded: names of their packages, and of imagemill's extras. Others are refused:
some fetch code from the Hub, and quanto 0.2.7 ends the process of a CPU with torch 2.13 (a segmentation fault)."""

_LIBRARIES = ("diffusers", "transformers")
_PARTS = ("transformer", "unet", "text_encoder")
"""Beginnings of the names of parts that may be quantized: no autoencoder, scheduler or tokenizer is."""


def quantization_of(part: Path) -> str | None:
    """The quantization of a part's files, as memory.quantization names it, or its method; None if they have none.

    ``part``: its folder.
    """
    try:
        config = json.loads((part / "config.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        # A damaged config is reported when the part is loaded.
        return None
    found = config.get("quantization_config") if isinstance(config, dict) else None
    if not isinstance(found, dict) or not found:
        return None
    bits = next((bits for bits in ("4bit", "8bit") if found.get(f"load_in_{bits}")), None)
    return f"bitsandbytes_{bits}" if bits else str(found.get("quant_method"))


def find_quantized(field: str, source: ModelSource, index: Mapping[str, Any], locator: Locator) -> dict[str, str]:
    """Part of a model -> the quantization of its files. A repository's configs are downloaded."""
    if source.is_checkpoint:
        return {}
    parts = [name for name in loaded_parts(index) if index[name][0] in _LIBRARIES and name.startswith(_PARTS)]
    return _named((name, _of_source(field, source, name, locator.cache_dir)) for name in parts)


def find_quantized_parts(field: str, parts: Iterable[ExternalPart], locator: Locator) -> dict[str, str]:
    """The same of parts that are loaded in place of a model's own. Raises RecipeError as check_quantized does."""
    folders = [part for part in parts if part.is_given and part.name.startswith(_PARTS) and not _is_file(part)]
    found = {
        part.name: _of_source(f"{field}.parts.{part.name}", part.source, part.subfolder, locator.cache_dir)
        for part in folders
    }
    for part in folders:
        method = found[part.name]
        if method:
            check_quantized(f"{field}.parts.{part.name} is {shown_path(part.source.location)}", {part.name: method})
    return _named(found.items())


def _is_file(part: ExternalPart) -> bool:
    local = part.local()
    return part.file is not None or (local is not None and local.is_file())


def _named(found: Iterable[tuple[str, str | None]]) -> dict[str, str]:
    return {name: method for name, method in found if method}


def _of_source(field: str, source: ModelSource, subfolder: str | None, cache_dir: str | None) -> str | None:
    if source.files:
        return quantization_of(Path(source.location, *PurePosixPath(subfolder or "").parts))
    try:
        return quantization_of(source.file(field, joined(subfolder, "config.json"), cache_dir).parent)
    except UnknownModel:
        # It has none, or the machine has no network: a worker reports it.
        return None


def check_quantized(subject: str, methods: Mapping[str, str]) -> None:
    """Raises RecipeError where the package that loads a quantized part is not installed, or imagemill knows none.

    ``subject``: the beginning of the message, which names the model. ``methods``: part -> quantization of its files.
    """
    for part, method in methods.items():
        package = method.split("_")[0]
        if package not in PACKAGES:
            raise RecipeError(
                f"{subject}: its {part} is quantized with {shown(method)}, which imagemill does not load: take plain "
                f"weights, or those quantized with {', '.join(PACKAGES)}."
            )
        if not is_installed(package):
            raise RecipeError(
                f"{subject}: its {part} is quantized with {package}, which is not installed: "
                f"pip install 'imagemill[{package}]'."
            )
