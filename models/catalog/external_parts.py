"""Parts of a model that lie outside of it: those that its repository lacks, and those that a recipe names instead.

The first are a catalog entry's, such as HiDream's Llama; the others may be a folder, a single file or a repository.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from imagemill.data.config.parts import Part
from imagemill.data.errors import RecipeError, one_line
from imagemill.data.messages import shown, shown_path
from imagemill.models.catalog.single_file.header import read_header
from imagemill.models.catalog.source import Locator, ModelSource, check_no_revision, joined
from imagemill.models.hash_cache import cached_hash

GGUF = ".gguf"
SINGLE_PARTS = (".safetensors", ".sft", GGUF)
"""Suffixes of files that may be one part."""

INSTEAD = ("vae", "unet", "transformer")
"""Names of parts that replace a model's own also where a catalog entry lists them."""


@dataclass(frozen=True, slots=True)
class ExternalPart:
    """One part, known exactly. Travels to the workers."""

    name: str
    """Its name in the pipeline: a ``tokenizer...``, or a language model."""
    source: ModelSource
    """A repository; where it is given also a local folder or file."""
    is_given: bool = False
    """True if it is loaded in place of the model's own, and so is of the class that the model's index names."""
    subfolder: str | None = None
    """Of a repository; None: its root."""
    file: str | None = None
    """The file of a repository that is the part; None: a folder."""

    @property
    def identity(self) -> dict[str, Any]:
        """All of it that decides pixels. The path of local files does not."""
        within = {"subfolder": self.subfolder, "file": self.file}
        return {**self.source.identity, **{name: value for name, value in within.items() if value}}

    def local(self) -> Path | None:
        """Its folder or file on this machine; None for a repository's."""
        return Path(self.source.location) if self.source.files else None


def find_external_parts(field: str, parts: Mapping[str, str], locator: Locator) -> tuple[ExternalPart, ...]:
    """The parts that a catalog's entry lists, name -> repository. Raises RecipeError and UnknownModel."""
    sources = {repository: locator.at_commit(field, repository, None) for repository in dict.fromkeys(parts.values())}
    return tuple(ExternalPart(name, sources[repository], name in INSTEAD) for name, repository in parts.items())


def find_given_parts(
    field: str, parts: Mapping[str, Part], index: Mapping[str, Any] | None, locator: Locator
) -> tuple[ExternalPart, ...]:
    """The parts that a section names.

    ``index``: the model's model_index.json; None where it is not here. Raises RecipeError and UnknownModel.
    """
    return tuple(_find(f"{field}.{name}", name, part, index, locator) for name, part in sorted(parts.items()))


def _find(field: str, name: str, part: Part, index: Mapping[str, Any] | None, locator: Locator) -> ExternalPart:
    known = [key for key, value in (index or {}).items() if isinstance(value, list) and value and value[0]]
    if index is not None and name not in known:
        raise RecipeError(f"{field} is given, but the model has no such part. It has: {', '.join(sorted(known))}.")
    found = locator.locate(field, "source", part.source, part.revision, "a folder or file of this machine")
    if isinstance(found, ModelSource):
        if part.file and not part.file.endswith(SINGLE_PARTS):
            raise RecipeError(f"{field}.file is {shown(part.file)}: name a .safetensors or .gguf file.")
        file = joined(part.subfolder, part.file) if part.file else None
        return ExternalPart(name, found, True, None if file else part.subfolder, file)
    check_no_revision(field, part.source, part.revision)
    path = _chosen(field, name, part, found.resolve())
    if path.is_file():
        _check_file(f"{field}.source", path)
        return ExternalPart(name, ModelSource(str(path), files=cached_hash(path)), True)
    return ExternalPart(name, ModelSource(str(path), files=locator.hash_folder(path)), True)


def _chosen(field: str, name: str, part: Part, path: Path) -> Path:
    """The folder or file of this machine that is meant."""
    if path.is_file():
        if part.subfolder or part.file:
            raise RecipeError(f"{field}.source is {shown_path(path)}, a file: leave subfolder and file out.")
        return path
    is_whole = (path / "model_index.json").is_file()
    folder = path / (part.subfolder or (name if is_whole and not part.file else ""))
    chosen = folder / part.file if part.file else folder
    inner = PurePath(joined(part.subfolder, part.file))
    if inner.is_absolute() or ".." in inner.parts:
        raise RecipeError(f"{field} names {shown_path(chosen)}, which lies outside of {shown_path(path)}.")
    if not (chosen.is_file() if part.file else (chosen / "config.json").is_file()):
        what = "not there" if part.file else "not a part: it has no config.json"
        raise RecipeError(f"{field} is {shown_path(chosen)}, which is {what}. Name the part's folder or its one file.")
    return chosen


def _check_file(field: str, path: Path) -> None:
    """Raises RecipeError for a file that is neither safetensors nor GGUF."""
    if path.suffix.lower() == GGUF:
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise RecipeError(f"{field} is {shown_path(path)}, which is not GGUF: copy or download it again.")
    elif path.suffix.lower() in SINGLE_PARTS:
        read_header(field, path)
    else:
        raise RecipeError(
            f"{field} is {shown_path(path)}: a part is a folder with config.json, or a file of safetensors or GGUF. To "
            "open any other file can run its code."
        )


def given_guidance(field: str, parts: tuple[ExternalPart, ...]) -> bool | None:
    """True if a given transformer of FLUX.1 has an input for guidance; None where none is given, or none is local."""
    path = next((part.local() for part in parts if part.is_given and part.name == "transformer"), None)
    if path is None or path.suffix.lower() == GGUF:
        return None
    if path.is_file():
        return any("guidance_in." in name or "guidance_embedder." in name for name in read_header(field, path).tensors)
    try:
        return json.loads((path / "config.json").read_bytes()).get("guidance_embeds")
    except (ValueError, RecursionError, AttributeError) as error:
        raise RecipeError(
            f"{field} is {shown_path(path)}, whose config.json is not JSON: {one_line(error)}."
        ) from error
