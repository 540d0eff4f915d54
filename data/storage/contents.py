"""Check of an output folder's contents before anything is read or written in it: plain files, and no way out.

The folder may be from someone else. A link in it could make a build overwrite or delete a file elsewhere, or a push
publish one, and reading a pipe never ends. The output folder itself may be a link: its user made that one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from imagemill.data.errors import OutputError
from imagemill.data.messages import shown_path

FOLLOW_LINKS = "IMAGEMILL_FOLLOW_LINKS"
"""Environment variable that lets a build and a push follow the links inside an output folder."""


def check_contents(files: Iterable[Path], folders: Iterable[Path], links: bool) -> None:
    """Raise OutputError for a link (unless ``links`` may be followed) or a special file.

    It checks the files, the folders and everything below these; a missing one is fine. Links are followed too if
    the environment variable IMAGEMILL_FOLLOW_LINKS is 1.
    """
    links = links or os.environ.get(FOLLOW_LINKS) == "1"
    for path in (*files, *folders):
        _check(path, links)
    for path in _suspects(folders):
        _check(path, links)


def _suspects(top: Iterable[Path]) -> Iterator[Path]:
    """Entries below these folders that are neither a plain file nor a folder. Follows no further link."""
    folders = [str(folder) for folder in top if folder.is_dir()]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                # The kind of an entry is known without a call each: a build may have staged many thousand images.
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif not entry.is_file(follow_symlinks=False):
                    yield Path(entry.path)


def _check(path: Path, links: bool) -> None:
    if path.is_symlink() and not links:
        raise OutputError(
            f"{shown_path(path)} is a link to {shown_path(path.readlink())}. A whole output folder may be a link, but "
            "one inside it could lead to files that are not the dataset's: put the file or folder itself there, or set "
            f"{FOLLOW_LINKS}=1 if you made this link. Nothing was touched."
        )
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OutputError(f"{shown_path(path)} is neither a file nor a folder: remove it. Nothing was touched.")
