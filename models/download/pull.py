"""Download a model ahead of a build: only what it is loaded from, into the hub's cache or a folder of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
from filelock import FileLock, Timeout
from huggingface_hub import HfApi, get_session, hf_hub_url, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import build_hf_headers, disable_progress_bars, hf_raise_for_status

from imagemill.data.errors import DownloadFailed, RecipeError, UnknownModel
from imagemill.models.catalog.entries import read_catalog
from imagemill.models.download.file_selection import is_whole, needed_files, safe_path
from imagemill.models.download.inventory import bytes_in, cache_root, cache_status_of_repository
from imagemill.models.download.resumable import Emit, Progress, bytes_there, fetch
from imagemill.models.hub import gated_message

AT_ONCE = 4
"""Files that are downloaded at a time."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """A model that is whole on this machine."""

    key: str
    repository: str | None
    commit: str | None
    folder: str
    """Of its files."""
    bytes: int
    downloaded: int
    """Bytes of large files that were not there before."""


def pull(
    key: str,
    to: Path | None = None,
    revision: str | None = None,
    cache_dir: str | None = None,
    models_file: str | None = None,
    emit: Emit = lambda there, total: None,
) -> Pulled:
    """Download a model of the catalog, or an 'org/name' repository.

    Files that are there are not downloaded again, half a file goes on. Raises UnknownModel and RecipeError for a model
    that cannot be had, DownloadFailed where the download ended early; what has arrived is kept.
    """
    models = read_catalog(models_file).models
    entry = models.get(key)
    if entry is None and key.count("/") != 1:
        raise UnknownModel(
            f"{key!r} is neither in the catalog ({', '.join(models)}) nor an 'org/name' repository: "
            "`imagemill models` lists the catalog."
        )
    if entry and entry.folder:
        return Pulled(key, None, None, entry.folder, bytes_in(Path(entry.folder)), 0)
    repository = entry.repository if entry else key
    wanted = revision or (entry.revision if entry else None)
    with _explain(key, repository, wanted):
        try:
            listed = _list_files(repository, wanted)
        except OfflineModeIsEnabled:
            kept = cache_status_of_repository(repository, wanted, cache_dir)
            if to is not None or kept.state != "whole":
                raise
            folder = cache_root(repository, cache_dir) / "snapshots" / kept.commit
            return Pulled(key, repository, kept.commit, str(folder), kept.bytes, 0)
        root = to or cache_root(repository, cache_dir)
        with _alone(key, root):
            return _download(key, listed, to, cache_dir, emit)


@dataclass(frozen=True, slots=True)
class _Listed:
    repository: str
    revision: str
    commit: str
    files: dict[str, RepoFile]
    """By path; those that are needed."""


def _list_files(repository: str, revision: str | None) -> _Listed:
    hub, token = HfApi(), os.environ.get("HF_TOKEN")
    commit = hub.model_info(repository, revision=revision, token=token).sha
    tree = hub.list_repo_tree(repository, revision=commit, recursive=True, token=token)
    files = {one.path: one for one in tree if isinstance(one, RepoFile)}
    if "model_index.json" not in files:
        raise UnknownModel(f"{repository!r} has no model_index.json at {commit[:12]}: not a diffusers model?")
    index = get_session().get(
        hf_hub_url(repository, "model_index.json", revision=commit),
        headers=build_hf_headers(token=token),
        follow_redirects=True,
    )
    hf_raise_for_status(index)
    chosen = needed_files(repository, index.text, files)
    return _Listed(repository, revision or "main", commit, {path: files[path] for path in chosen})


def _download(key: str, listed: _Listed, to: Path | None, cache_dir: str | None, emit: Emit) -> Pulled:
    root = to or cache_root(listed.repository, cache_dir)
    total = sum(one.size for one in listed.files.values())
    targets = dict(_targets(listed, to, root))
    missing = sum(one.size - bytes_there(targets[path], one) for path, one in listed.files.items() if path in targets)
    _check_room(listed.repository, root, missing)
    progress = Progress(total, total - missing, emit)
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="pull") as threads:
        in_flight = [
            threads.submit(fetch, listed.repository, listed.commit, listed.files[path], target, progress)
            for path, target in targets.items()
        ]
        try:
            for one in in_flight:
                one.result()
        finally:
            progress.stop()
            threads.shutdown(wait=False, cancel_futures=True)
    folder = str(to) if to else _link(listed, cache_dir)
    if not is_whole(Path(folder)):
        raise RecipeError(f"{listed.repository!r} lacks files that its model_index.json names; see {folder!r}.")
    return Pulled(key, listed.repository, listed.commit, folder, total, missing)


def _targets(listed: _Listed, to: Path | None, root: Path) -> Iterator[tuple[str, Path]]:
    """The files to fetch, and where each goes: into a folder all of them, into the cache the large ones."""
    for path, one in listed.files.items():
        if to is not None:
            yield path, safe_path(to, path)
        elif one.lfs:
            yield path, root / "blobs" / one.lfs.sha256


def _link(listed: _Listed, cache_dir: str | None) -> str:
    """The snapshot's folder: the cache takes in the large files that lie among its blobs, and gets the small ones."""
    disable_progress_bars()
    return snapshot_download(
        listed.repository,
        revision=listed.revision,
        cache_dir=cache_dir,
        token=os.environ.get("HF_TOKEN"),
        allow_patterns=[*listed.files],
    )


def _check_room(repository: str, root: Path, missing: int) -> None:
    there = next(path for path in (root.absolute(), *root.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if missing > free:
        raise DownloadFailed(
            f"{repository!r} needs {missing / 1e9:.1f} GB more, but {str(there)!r} has {free / 1e9:.1f} GB free. Make "
            "room, or name another place with --to or --cache-dir."
        )


@contextmanager
def _alone(key: str, root: Path) -> Iterator[None]:
    """Hold the place: two downloads would write into one file."""
    root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(root / ".pull.lock", timeout=0)
    try:
        with lock:
            yield
    except Timeout as error:
        raise DownloadFailed(f"{key!r} is being pulled into {str(root)!r} by another process: wait for it.") from error


@contextmanager
def _explain(key: str, repository: str, revision: str | None) -> Iterator[None]:
    try:
        yield
    except GatedRepoError as error:
        raise RecipeError(gated_message(key, repository)) from error
    except RevisionNotFoundError as error:
        raise UnknownModel(f"the repository {repository!r} has no revision {revision!r}.") from error
    except RepositoryNotFoundError as error:
        raise UnknownModel(
            f"there is no repository {repository!r} that you may see. Check its name; for a private one put a token "
            "with access into HF_TOKEN."
        ) from error
    except OfflineModeIsEnabled as error:
        raise DownloadFailed(
            f"HF_HUB_OFFLINE is set, so nothing is downloaded, and {key!r} is not whole in the local cache: "
            "unset it and pull again."
        ) from error
    except (httpx2.HTTPError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise DownloadFailed(
            f"the hub cannot be reached, or broke off ({type(error).__name__}: {' '.join(str(error).split())[:200]}). "
            "What has arrived is kept: pull again to go on from there."
        ) from error
    except OSError as error:
        raise DownloadFailed(
            f"{key!r} cannot be downloaded: {' '.join(str(error).split())}. What has arrived is kept."
        ) from error
