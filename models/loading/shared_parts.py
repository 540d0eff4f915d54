"""Parts that models share, by the content of their files: an equal part of two models is loaded once.

FLUX.1-dev and FLUX.1-Kontext-dev, for instance, have the same text encoders and the same autoencoder.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from imagemill.data.identity import digest
from imagemill.models.hash_cache import cached_hash

IRRELEVANT = ("_name_or_path", "_diffusers_version", "transformers_version", "_commit_hash")
"""Fields of a config that record where and by which version it was written."""


FolderState = tuple[tuple[str, int, int, int, int], ...]
"""Name, size, inode, and times of the last change of content and of inode of each file of a part.

A copy in place can keep all but the last: it restores the first of the times.
"""


def folder_state(folder: Path) -> FolderState:
    """The state of a part's files now; empty for a folder that is gone."""
    found = [path for path in sorted(folder.glob("*")) if path.suffix in (".safetensors", ".json")]
    stats = [(path.name, path.stat()) for path in found]
    return tuple((name, stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns) for name, stat in stats)


def part_folders(model: Path) -> list[Path]:
    """The folders of a model's parts that have weights."""
    return sorted({path.parent for path in model.glob("*/*.safetensors")})


def find_equal(folder: Path, others: Iterable[Path]) -> Path | None:
    """The one of the other folders that holds the same part. Files are hashed only if names and sizes are equal."""
    shape = _shape(folder)
    return next((other for other in others if _shape(other) == shape and _content(other) == _content(folder)), None)


def _shape(folder: Path) -> list[tuple[str, int]]:
    return sorted((path.name, path.stat().st_size) for path in folder.glob("*.safetensors"))


def _content(folder: Path) -> str:
    named = [(path.name, _file(path)) for path in sorted(folder.iterdir()) if path.suffix in (".safetensors", ".json")]
    return digest(named)


def _file(path: Path) -> Any:
    if path.name == "config.json":
        fields = json.loads(path.read_bytes())
        return {name: value for name, value in fields.items() if name not in IRRELEVANT}
    real = path.resolve()
    # In the hub's cache a large file is a link to a blob named by its sha256.
    if real.parent.name == "blobs" and len(real.name) == 64:
        return real.name
    return cached_hash(real)
