"""The catalog as a shelf: every model with its defaults, and how much of it the local cache has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from huggingface_hub import constants

from imagemill.models.catalog.entries import Entry, Family, read_catalog
from imagemill.models.download.file_selection import is_whole

CacheState = Literal["whole", "part", "none", "folder"]


@dataclass(frozen=True, slots=True)
class CacheStatus:
    """What this machine has of a model."""

    state: CacheState
    bytes: int = 0
    """Of its files, and of those that a download has begun."""
    commit: str | None = None


def shelf(models_file: str | None = None, cache_dir: str | None = None) -> list[dict[str, Any]]:
    """Each model of the catalog as plain values, in its order. Asks no hub. Raises RecipeError for a bad file."""
    catalog = read_catalog(models_file)
    return [
        _book(name, entry, catalog.families[entry.family], name in catalog.own, cache_dir)
        for name, entry in catalog.models.items()
    ]


def _book(name: str, entry: Entry, family: Family, is_own: bool, cache_dir: str | None) -> dict[str, Any]:
    settings, kept = entry.settings(family), cache_status_of(entry, cache_dir)
    shown = ("width", "height", "steps", "guidance_scale", "negative_prompt", "dtype")
    return {
        "key": name,
        "tasks": list(entry.calls(family)),
        **{what: settings[what] for what in shown},
        "memory_gib": entry.memory_gib,
        "licence": entry.licence,
        "outputs": entry.outputs,
        "gated": entry.gated,
        "repository": entry.repository,
        "revision": entry.revision,
        "folder": entry.folder,
        "own": is_own,
        "cached": kept.state,
        "cached_bytes": kept.bytes,
        "cached_commit": kept.commit,
    }


def cache_root(repository: str, cache_dir: str | None) -> Path:
    """Where the hub's cache keeps a repository."""
    root = Path(cache_dir).expanduser() if cache_dir else Path(constants.HF_HUB_CACHE)
    return root / f"models--{repository.replace('/', '--')}"


def cache_status_of(entry: Entry, cache_dir: str | None) -> CacheStatus:
    """What this machine has of an entry: of its commit, else of the one that the cache took for its newest."""
    if entry.folder:
        return CacheStatus("folder", bytes_in(Path(entry.folder)))
    return cache_status_of_repository(entry.repository, entry.revision, cache_dir)


def cache_status_of_repository(repository: str, revision: str | None, cache_dir: str | None) -> CacheStatus:
    """What the hub's cache has of a repository at a revision; None: at its default branch."""
    root = cache_root(repository, cache_dir)
    ref = root / "refs" / (revision or "main")
    commit = ref.read_text().strip() if ref.is_file() else revision
    begun = bytes_in(root / "blobs")
    if commit is None or not (root / "snapshots" / commit).is_dir():
        return CacheStatus("part" if begun else "none", begun)
    if is_whole(root / "snapshots" / commit):
        return CacheStatus("whole", bytes_in(root / "snapshots" / commit), commit)
    return CacheStatus("part", begun, commit)


def bytes_in(folder: Path) -> int:
    """The bytes of all files below a folder, links followed; 0 where there is none."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0
