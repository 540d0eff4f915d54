"""Download of a model ahead of a build: only the files it is loaded from, into the hub's cache or a folder."""

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
from imagemill.data.messages import shown, shown_path
from imagemill.models.catalog.entries import read_catalog
from imagemill.models.catalog.not_a_model import nearest_names
from imagemill.models.download.file_selection import is_whole, needed_files, needed_of_scorer, safe_path
from imagemill.models.download.inventory import bytes_in, cache_root, cache_status_of_repository
from imagemill.models.download.resumable import Emit, Progress, downloaded_bytes, fetch
from imagemill.models.hub import gated_message

MAX_DOWNLOADS = 4
"""Files that are downloaded at a time."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """A model that is complete on this machine."""

    key: str
    repository: str | None
    commit: str | None
    folder: str
    """Of its files."""
    bytes: int
    downloaded: int
    """Bytes of large files that were missing before."""
    is_scorer: bool = False
    """True if it judges images, and generates none."""


def pull(
    key: str,
    to: Path | None = None,
    revision: str | None = None,
    cache_dir: str | None = None,
    models_file: str | None = None,
    emit: Emit = lambda downloaded, total: None,
) -> Pulled:
    """Download a model or scorer of the catalog, or an 'org/name' repository, which may be a scorer's or a head's.

    Complete files are not downloaded again, partial ones are resumed. Raises UnknownModel and RecipeError for a model
    that does not exist or denies access, DownloadFailed where the download ended early; partial files are kept.
    """
    catalog = read_catalog(models_file)
    key = catalog.key_of(key) or catalog.key_of_repository(key) or catalog.scorer_of(key) or key
    entry = catalog.models.get(key) or catalog.scorers.get(key)
    if entry is None and key.count("/") != 1:
        raise UnknownModel(
            f"{shown(key)} is neither in the catalog (nearest: {', '.join(nearest_names(key, catalog))}; `imagemill "
            f"models` lists all {len(catalog.models) + len(catalog.scorers)}) nor an 'org/name' repository."
        )
    if entry and entry.folder:
        folder = Path(entry.folder)
        return Pulled(key, None, None, entry.folder, bytes_in(folder), 0, _is_scorer(folder))
    repository = entry.repository if entry else key
    revision = revision or (entry.revision if entry else None)
    with _explain(key, repository, revision):
        try:
            listed = _list_files(repository, revision)
        except OfflineModeIsEnabled:
            status = cache_status_of_repository(repository, revision, cache_dir)
            if to is not None or status.state != "whole":
                raise
            folder = cache_root(repository, cache_dir) / "snapshots" / status.commit
            return Pulled(key, repository, status.commit, str(folder), status.bytes, 0, _is_scorer(folder))
        root = to or cache_root(repository, cache_dir)
        with _locked(key, root):
            return _download(key, listed, to, cache_dir, emit)


def _is_scorer(folder: Path) -> bool:
    return not (folder / "model_index.json").is_file()


@dataclass(frozen=True, slots=True)
class _Listed:
    repository: str
    revision: str
    commit: str
    files: dict[str, RepoFile]
    """The needed ones, by path."""


def _list_files(repository: str, revision: str | None) -> _Listed:
    hub, token = HfApi(), os.environ.get("HF_TOKEN")
    commit = hub.model_info(repository, revision=revision, token=token).sha
    tree = hub.list_repo_tree(repository, revision=commit, recursive=True, token=token)
    files = {file.path: file for file in tree if isinstance(file, RepoFile)}
    if "model_index.json" not in files:
        if "config.json" not in files and not any(path.endswith(".safetensors") for path in files):
            raise UnknownModel(
                f"{shown(repository)} has neither model_index.json nor config.json at {commit[:12]}: not a model of "
                "diffusers or transformers?"
            )
        chosen = needed_of_scorer(repository, files)
        return _Listed(repository, revision or "main", commit, {path: files[path] for path in chosen})
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
    total = sum(file.size for file in listed.files.values())
    targets = dict(_targets(listed, to, root))
    missing = sum(
        file.size - downloaded_bytes(targets[path], file) for path, file in listed.files.items() if path in targets
    )
    _check_free_space(listed.repository, root, missing)
    progress = Progress(total, total - missing, emit)
    with ThreadPoolExecutor(MAX_DOWNLOADS, thread_name_prefix="pull") as threads:
        downloads = [
            threads.submit(fetch, listed.repository, listed.commit, listed.files[path], target, progress)
            for path, target in targets.items()
        ]
        try:
            for download in downloads:
                download.result()
        finally:
            progress.stop()
            threads.shutdown(wait=False, cancel_futures=True)
    folder = str(to) if to else _link(listed, cache_dir)
    if not is_whole(Path(folder)):
        raise RecipeError(f"{shown(listed.repository)} lacks files that its index names; see {shown_path(folder)}.")
    return Pulled(key, listed.repository, listed.commit, folder, total, missing, _is_scorer(Path(folder)))


def _targets(listed: _Listed, to: Path | None, root: Path) -> Iterator[tuple[str, Path]]:
    """Path and target of the files to fetch: all of them into a folder, only the large ones into the cache."""
    for path, file in listed.files.items():
        if to is not None:
            yield path, safe_path(to, path)
        elif file.lfs:
            yield path, root / "blobs" / file.lfs.sha256


def _link(listed: _Listed, cache_dir: str | None) -> str:
    """The snapshot's folder: the hub's client links the blobs that were fetched, and downloads the small files."""
    disable_progress_bars()
    return snapshot_download(
        listed.repository,
        revision=listed.revision,
        cache_dir=cache_dir,
        token=os.environ.get("HF_TOKEN"),
        allow_patterns=[*listed.files],
    )


def _check_free_space(repository: str, root: Path, missing: int) -> None:
    existing = next(path for path in (root.absolute(), *root.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if missing > free:
        raise DownloadFailed(
            f"{shown(repository)} needs {missing / 1e9:.1f} GB more, but {shown_path(existing)} has {free / 1e9:.1f} "
            "GB free. "
            "Free some space, or name another folder with --to or --cache-dir."
        )


@contextmanager
def _locked(key: str, root: Path) -> Iterator[None]:
    """Lock the folder: two downloads would write into one file."""
    root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(root / ".pull.lock", timeout=0)
    try:
        with lock:
            yield
    except Timeout as error:
        raise DownloadFailed(
            f"{shown(key)} is being pulled into {shown_path(root)} by another process: wait for it."
        ) from error


@contextmanager
def _explain(key: str, repository: str, revision: str | None) -> Iterator[None]:
    try:
        yield
    except GatedRepoError as error:
        raise RecipeError(gated_message(key, repository)) from error
    except RevisionNotFoundError as error:
        raise UnknownModel(f"the repository {shown(repository)} has no revision {shown(revision)}.") from error
    except RepositoryNotFoundError as error:
        raise UnknownModel(
            f"there is no repository {shown(repository)} that you may see. Check its name; for a private one put a "
            "token "
            "with access into HF_TOKEN."
        ) from error
    except OfflineModeIsEnabled as error:
        raise DownloadFailed(
            f"HF_HUB_OFFLINE is set, so nothing is downloaded, and {shown(key)} is not complete in the local cache: "
            "unset it and pull again."
        ) from error
    except (httpx2.HTTPError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise DownloadFailed(
            f"the hub cannot be reached, or broke off ({type(error).__name__}: {' '.join(str(error).split())[:200]}). "
            "Partial files are kept: pull again to resume."
        ) from error
    except OSError as error:
        raise DownloadFailed(
            f"{shown(key)} cannot be downloaded: {' '.join(str(error).split())}. Partial files are kept."
        ) from error
