"""Resumable download of one file of a repository.

The hub's own client discards a partial file when its process ends; large ones are gigabytes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

from huggingface_hub import hf_hub_url
from huggingface_hub.file_download import http_get
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import build_hf_headers

from imagemill.data.errors import DownloadFailed
from imagemill.data.messages import shown
from imagemill.data.storage.locations import hash_file

Emit = Callable[[int, int], None]
"""(downloaded bytes, total bytes) -> None; called from several threads, one at a time."""


class Stopped(Exception):
    """The download was stopped; partial files stay."""


class Progress:
    """Sums up the threads' downloaded bytes, and stops them all."""

    def __init__(self, total: int, downloaded: int, emit: Emit) -> None:
        self._total, self._downloaded, self._emit = total, downloaded, emit
        self._lock, self._stopped = Lock(), False
        emit(downloaded, total)

    def stop(self) -> None:
        """Let every download in flight end at its next chunk."""
        self._stopped = True

    def add(self, count: int) -> None:
        """Count more bytes. Raises Stopped after ``stop``."""
        with self._lock:
            self._downloaded += count
            self._emit(self._downloaded, self._total)
        if self._stopped:
            raise Stopped

    def bar(self, *_: Any, **__: Any) -> _Bar:
        """A stand-in for the hub client's progress bar of one file."""
        return _Bar(self)


class _Bar:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def update(self, count: float | None = 1) -> None:
        self._progress.add(int(count or 0))


def fetch(repository: str, commit: str, file: RepoFile, target: Path, progress: Progress) -> None:
    """Download one file to its target. Raises DownloadFailed where it arrives damaged, and the hub's own errors."""
    if target.exists() and (target.name == _sha256(file) or _is_right(target, file)):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = _part_of(target)
    if part.exists() and part.stat().st_size >= file.size and not _is_right(part, file):
        # Damaged, in a download that another damaged file ended.
        part.unlink()
    with open(part, "ab") as opened:
        http_get(
            hf_hub_url(repository, file.path, revision=commit),
            opened,
            resume_size=opened.tell(),
            headers=build_hf_headers(token=os.environ.get("HF_TOKEN")),
            expected_size=file.size,
            tqdm_class=progress.bar,
        )
    if not _is_right(part, file):
        part.unlink()
        raise DownloadFailed(
            f"{file.path} of {shown(repository)} arrived damaged: its checksum differs. Pull the model again."
        )
    part.replace(target)


def downloaded_bytes(target: Path, file: RepoFile) -> int:
    """Bytes of a file that need not be downloaded again."""
    found = target if target.exists() else _part_of(target)
    return min(file.size, found.stat().st_size) if found.exists() else 0


def _part_of(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")


def _sha256(file: RepoFile) -> str | None:
    return file.lfs.sha256 if file.lfs else None


def _is_right(path: Path, file: RepoFile) -> bool:
    """True if a file has the repository's size and checksum."""
    if path.stat().st_size != file.size:
        return False
    if file.lfs:
        return hash_file(path) == file.lfs.sha256
    content = path.read_bytes()
    # Git's id of a file that it stores itself.
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() == file.blob_id
