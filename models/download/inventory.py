"""Inventory of the catalog: every model and scorer with its settings, and how much of it the local cache has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from huggingface_hub import constants

from imagemill.models.catalog.entries import Entry, Family, read_catalog
from imagemill.models.catalog.scorers.entries import ScorerEntry
from imagemill.models.download.file_selection import is_whole

CacheState = Literal["whole", "part", "none", "folder"]


@dataclass(frozen=True, slots=True)
class CacheStatus:
    """Share of a model that is on this machine."""

    state: CacheState
    bytes: int = 0
    """Of its files, partial downloads included."""
    commit: str | None = None


def list_models(models_file: str | None = None, cache_dir: str | None = None) -> list[dict[str, Any]]:
    """Each model of the catalog, then each scorer, as plain values, in its order. Needs no network.

    A scorer's tasks are its kinds; what it does not have, such as a size, is None. Raises RecipeError for a bad file.
    """
    catalog = read_catalog(models_file)
    models = [
        _describe(name, entry, catalog.families[entry.family], name in catalog.own, cache_dir)
        for name, entry in catalog.models.items()
    ]
    scorers = [_describe_scorer(name, entry, name in catalog.own, cache_dir) for name, entry in catalog.scorers.items()]
    return models + scorers


def _describe(name: str, entry: Entry, family: Family, is_own: bool, cache_dir: str | None) -> dict[str, Any]:
    settings, status = entry.settings(family), cache_status_of(entry, cache_dir)
    listed = ("width", "height", "steps", "guidance_scale", "negative_prompt", "dtype")
    return {
        "key": name,
        "tasks": list(entry.calls(family)),
        **{setting: settings[setting] for setting in listed},
        **_files(entry, status, is_own),
        "outputs": entry.outputs,
    }


def _describe_scorer(name: str, entry: ScorerEntry, is_own: bool, cache_dir: str | None) -> dict[str, Any]:
    status = cache_status_of(entry, cache_dir)
    missing = ("width", "height", "steps", "guidance_scale", "negative_prompt", "outputs")
    described = {"key": name, "tasks": list(entry.kinds), **dict.fromkeys(missing), "dtype": entry.dtype}
    return {**described, **_files(entry, status, is_own)}


def _files(entry: Entry | ScorerEntry, status: CacheStatus, is_own: bool) -> dict[str, Any]:
    return {
        "memory_gib": entry.memory_gib,
        "licence": entry.licence,
        "gated": entry.gated,
        "repository": entry.repository,
        "revision": entry.revision,
        "folder": entry.folder,
        "own": is_own,
        "cached": status.state,
        "cached_bytes": status.bytes,
        "cached_commit": status.commit,
    }


def cache_root(repository: str, cache_dir: str | None) -> Path:
    """Folder of a repository in the hub's cache."""
    root = Path(cache_dir).expanduser() if cache_dir else Path(constants.HF_HUB_CACHE)
    return root / f"models--{repository.replace('/', '--')}"


def cache_status_of(entry: Entry | ScorerEntry, cache_dir: str | None) -> CacheStatus:
    """Share of an entry that is on this machine, at its commit, or at the newest one that the cache knows."""
    if entry.folder:
        return CacheStatus("folder", bytes_in(Path(entry.folder)))
    return cache_status_of_repository(entry.repository, entry.revision, cache_dir)


def cache_status_of_repository(repository: str, revision: str | None, cache_dir: str | None) -> CacheStatus:
    """Share of a repository that is in the hub's cache at a revision; None: at its default branch."""
    root = cache_root(repository, cache_dir)
    ref = root / "refs" / (revision or "main")
    commit = ref.read_text().strip() if ref.is_file() else revision
    downloaded = bytes_in(root / "blobs")
    if commit is None or not (root / "snapshots" / commit).is_dir():
        return CacheStatus("part" if downloaded else "none", downloaded)
    if is_whole(root / "snapshots" / commit):
        return CacheStatus("whole", bytes_in(root / "snapshots" / commit), commit)
    return CacheStatus("part", downloaded, commit)


def bytes_in(folder: Path) -> int:
    """The bytes of all files below a folder, links followed; 0 for a folder that does not exist."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0
