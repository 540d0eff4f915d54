"""One file of a repository onto the disk, going on where an earlier download was cut short.

The hub's own client throws half a file away when its process ends; large ones are gigabytes.
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
from imagemill.models.catalog.model_files import hash_file

Emit = Callable[[int, int], None]
"""(bytes there, bytes in all) -> None; called from several threads, one at a time."""


class Stopped(Exception):
    """The download is given up; what has arrived stays."""


class Progress:
    """Adds up what the threads have downloaded, and stops them all."""

    def __init__(self, total: int, there: int, emit: Emit) -> None:
        self._total, self._there, self._emit = total, there, emit
        self._lock, self._stopped = Lock(), False
        emit(there, total)

    def stop(self) -> None:
        """Let every download under way end at its next piece."""
        self._stopped = True

    def add(self, count: int) -> None:
        """Count more bytes. Raises Stopped after ``stop``."""
        with self._lock:
            self._there += count
            self._emit(self._there, self._total)
        if self._stopped:
            raise Stopped

    def bar(self, *_: Any, **__: Any) -> _Bar:
        """What the hub's client takes for a progress bar of one file."""
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


def fetch(repository: str, commit: str, one: RepoFile, target: Path, progress: Progress) -> None:
    """Bring one file whole to its place. Raises DownloadFailed where it arrives damaged, and the hub's own errors."""
    if target.exists() and (target.name == _sha256(one) or _is_right(target, one)):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = _part_of(target)
    if part.exists() and part.stat().st_size >= one.size and not _is_right(part, one):
        # It arrived damaged, beside another whose damage ended that download.
        part.unlink()
    with open(part, "ab") as file:
        http_get(
            hf_hub_url(repository, one.path, revision=commit),
            file,
            resume_size=file.emit(),
            headers=build_hf_headers(token=os.environ.get("HF_TOKEN")),
            expected_size=one.size,
            tqdm_class=progress.bar,
        )
    if not _is_right(part, one):
        part.unlink()
        raise DownloadFailed(
            f"{one.path} of {repository!r} arrived damaged: its checksum is not the repository's. Pull the model again."
        )
    part.replace(target)


def bytes_there(target: Path, one: RepoFile) -> int:
    """How much of a file need not be downloaded."""
    there = target if target.exists() else _part_of(target)
    return min(one.size, there.stat().st_size) if there.exists() else 0


def _part_of(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")


def _sha256(one: RepoFile) -> str | None:
    return one.lfs.sha256 if one.lfs else None


def _is_right(path: Path, one: RepoFile) -> bool:
    """Whether a file is what the repository says, by its size and checksum."""
    if path.stat().st_size != one.size:
        return False
    if one.lfs:
        return hash_file(path) == one.lfs.sha256
    content = path.read_bytes()
    # Git's name for a file that it holds itself.
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() == one.blob_id
