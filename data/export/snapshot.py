"""Snapshot of a finished dataset: its files in data/ in a folder that never changes, for readers during builds.

On one file system the snapshot takes no space for a file that the dataset still has: both names are of one file, and
no build ever writes into a file that has a name.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from imagemill.data.dataset.folder import Folder, sync_folder
from imagemill.data.dataset.reader import find_finished
from imagemill.data.errors import NotAnImagemillDataset, OutputError
from imagemill.data.export.part import pages_of_part
from imagemill.data.messages import shown_path
from imagemill.data.storage.disk_errors import explain_disk_errors
from imagemill.data.storage.locations import Location, hash_file

MAX_TRIES = 5
"""Manifests that are tried: each may be replaced by a build's end while its files are collected."""

_NO_LINK = (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.EACCES)
"""Errors of a file system, or a pair of them, that cannot link a file: it is copied."""


class _FileGone(Exception):
    """A file of the manifest, which this names, was replaced meanwhile."""


def snapshot(output: str | Path, target: Path) -> dict[str, Any]:
    """Collect the files of the dataset's manifest in ``target``, which appears once it is complete.

    Returns {"output", "to", "rows", "files", "bytes", "linked", "fingerprint", "written"}; ``linked`` counts the files
    that take no further space. An existing snapshot of the same content is left as it is.
    Raises NotAnImagemillDataset and OutputError.
    """
    folder, manifest = find_finished(output)
    if done := _existing(target, manifest):
        return {"output": str(output), "to": str(target), **done, "written": False}
    scratch = target.with_name(f".{target.name}.{uuid4().hex}")
    with explain_disk_errors(target):
        try:
            figures = _collect_current(folder, scratch)
            os.replace(scratch, target)
            sync_folder(target.parent)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return {"output": str(output), "to": str(target), **figures, "written": True}


def _collect_current(folder: Folder, scratch: Path) -> dict[str, Any]:
    """Fill a new folder with the files of the manifest, or of the one that replaces it meanwhile."""
    for left in reversed(range(MAX_TRIES)):
        try:
            return _collect(folder, find_finished(str(folder.root))[1], scratch)
        except _FileGone as gone:
            shutil.rmtree(scratch)
            if not left:
                raise OutputError(
                    f"{shown_path(folder.data / str(gone))} is missing. A build replaces files when it ends: take the "
                    "snapshot again then. If no build is running, `imagemill verify` lists all faults."
                ) from gone
    raise AssertionError("the last try returns or raises")


def _existing(target: Path, manifest: Mapping[str, Any]) -> dict[str, Any] | None:
    """The figures of the same snapshot, if ``target`` is one; None if there is nothing yet."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return None
    marker = Folder(target).snapshot
    try:
        figures = json.loads(marker.read_bytes())
        other = Folder(target).read_manifest()
    except (OSError, ValueError) as error:
        raise NotAnImagemillDataset(
            f"{shown_path(target)} exists and is not a snapshot; nothing in it was touched. Give --to a "
            "folder that does not exist."
        ) from error
    if other is None or other["files"] != manifest["files"]:
        raise NotAnImagemillDataset(
            f"{shown_path(target)} is an earlier snapshot, which never changes, and the dataset has changed since. "
            "Give --to a folder that does not exist, or delete that one."
        )
    return dict(figures)


def _collect(folder: Folder, manifest: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Fill a new folder with the manifest's files. Raises _FileGone if one was replaced meanwhile."""
    (scratch / "data").mkdir(parents=True)
    linked = 0
    for file in manifest["files"]:
        linked += _take(folder, file, scratch / "data" / file["name"])
    pages = pages_of_part(folder, manifest, folders=())
    with suppress(FileNotFoundError):
        pages[folder.set_aside.name] = folder.set_aside.read_bytes()
    # Pages of a later build may be there before its manifest, which is written last.
    if folder.read_manifest() != manifest:
        raise _FileGone(folder.manifest.name)
    for name, content in pages.items():
        (scratch / name).write_bytes(content)
    figures = {
        "rows": manifest["rows"],
        "files": len(manifest["files"]),
        "bytes": sum(file["bytes"] for file in manifest["files"]),
        "linked": linked,
        "fingerprint": manifest["fingerprint"],
    }
    (scratch / folder.snapshot.name).write_text(json.dumps(figures, indent=2) + "\n")
    for part in (scratch / "data", scratch):
        sync_folder(part)
    return figures


def _take(folder: Folder, file: Mapping[str, Any], target: Path) -> bool:
    """Link or copy one of the manifest's files; returns whether it is linked. Raises _FileGone and OutputError."""
    for source in (folder.data / file["name"], folder.replaced / file["name"]):
        try:
            linked = _link_or_copy(source, target)
        except FileNotFoundError:
            continue
        # A linked file is as trustworthy as the dataset, which `imagemill verify` reads as a whole.
        if target.stat().st_size != file["bytes"] or not (linked or hash_file(target) == file["sha256"]):
            raise OutputError(
                f"{shown_path(source)} is not the file that the manifest lists; `imagemill verify` lists all faults."
            )
        return linked
    raise _FileGone(file["name"])


def _link_or_copy(source: Location, target: Path) -> bool:
    if isinstance(source, Path):
        try:
            os.link(source, target)
            return True
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
        shutil.copyfile(source, target)
        return False
    with source.open() as remote, open(target, "wb") as copy:
        shutil.copyfileobj(remote, copy, 16 * 2**20)
    return False
