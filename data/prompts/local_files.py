"""Listing of a local folder, or of a glob, as prompts: shards of one format, or images with captions.

Files and folders whose name begins with a dot are skipped. A link that leads out of the folder is refused, since the
folder may be from someone else; the folder itself may be a link.
"""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from imagemill.data.errors import InputError
from imagemill.data.messages import shown_path
from imagemill.data.prompts.formats.names import FORMATS, format_of
from imagemill.data.storage.contents import FOLLOW_LINKS

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".heic", ".heif")
CAPTION_SUFFIXES = (".txt", ".caption")
METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")

_SAVED_BY_DATASETS = ("dataset_info.json", "state.json", "dataset_dict.json")
"""Files that `Dataset.save_to_disk` writes beside its .arrow files."""


class Listing(NamedTuple):
    """Files of a folder or a glob, by their paths below ``folder``, in natural order: part-2 before part-10."""

    folder: Path
    files: list[str]
    is_images: bool = False
    """True if the files are images with their captions or metadata, not prompts files."""


def list_prompts(location: str) -> Listing | None:
    """List a folder or a glob; None for any other path. A file of that very name wins. Raises InputError."""
    path = Path(location).expanduser()
    try:
        if path.is_dir():
            return _of_folder(path)
        if not glob.has_magic(location) or os.path.lexists(path):
            return None
        return _of_glob(str(path))
    # A name that no file system takes is an error where it is opened.
    except ValueError:
        return None
    except OSError as error:
        raise InputError(
            f"the prompts folder {shown_path(error.filename or location)} cannot be read: {error.strerror}."
        ) from error


def base_folder(location: str) -> Path:
    """The folder to which image names in these prompts are relative."""
    path = Path(location).expanduser()
    try:
        if path.is_dir():
            return path
        is_glob = glob.has_magic(location) and not os.path.lexists(path)
    except (OSError, ValueError):
        is_glob = False
    return _fixed_part(path) if is_glob else path.parent


def _fixed_part(pattern: Path) -> Path:
    """The folder of a glob that is no pattern itself."""
    folder = pattern.parent
    while glob.has_magic(str(folder)):
        folder = folder.parent
    return folder


def _of_folder(folder: Path) -> Listing:
    names = sorted(_walk(folder), key=natural)
    images = {str(PurePosixPath(name).with_suffix("")) for name in names if is_image(name)}
    captions = {name for name in names if is_caption(name) and str(PurePosixPath(name).with_suffix("")) in images}
    has_metadata = bool(images) and any(PurePosixPath(name).name.lower() in METADATA for name in names)
    prompts = [name for name in names if format_of(name) and name not in captions]
    if has_metadata:
        prompts = [name for name in prompts if PurePosixPath(name).name.lower() not in METADATA]
    if images and all(captions and is_caption(name) for name in prompts):
        return Listing(folder, names, is_images=True)
    if any(format_of(name) == ".arrow" for name in prompts):
        prompts = [name for name in prompts if not _is_beside_arrow(name, names)]
    if not prompts:
        raise InputError(
            f"the prompts folder {shown_path(folder)} has neither images nor a file that ends in {', '.join(FORMATS)}."
        )
    return _one_format(folder, prompts)


def _is_beside_arrow(name: str, names: list[str]) -> bool:
    """True if `datasets` wrote a file beside those of a saved dataset: its description, or a cache of a `map`."""
    path = PurePosixPath(name)
    is_cache = path.name.startswith("cache-") and str(path.with_name("state.json")) in names
    return path.name in _SAVED_BY_DATASETS or is_cache


def _of_glob(pattern: str) -> Listing:
    folder = _fixed_part(Path(pattern))
    # Not Path.glob, which finds hidden files too.
    found = [Path(path) for path in glob.iglob(pattern, recursive=True)]  # noqa: PTH207
    files = [path.relative_to(folder).as_posix() for path in found if not path.is_dir()]
    names = sorted(filter(format_of, files), key=natural)
    if not names:
        what = f"none of the {len(files)} files" if files else "no file"
        raise InputError(
            f"the prompts {shown_path(pattern)} do not exist: {what} of that name"
            + (f" ends in {', '.join(FORMATS)}." if files else " is there.")
        )
    root = _root(folder)
    for name in names:
        _check_link(folder / name, root)
    return _one_format(folder, names)


def _one_format(folder: Path, names: list[str]) -> Listing:
    formats = Counter(format_of(name) for name in names)
    if len(formats) > 1:
        found = ", ".join(f"{count} {suffix}" for suffix, count in formats.most_common())
        raise InputError(
            f"the prompts in {shown_path(folder)} have several formats ({found}): name those of one, for instance "
            f"{shown_path(folder / f'*{formats.most_common(1)[0][0]}')}."
        )
    return Listing(folder, names)


def _walk(folder: Path) -> Iterator[str]:
    """The files below a folder that may be prompts, captions or images."""
    root, seen = _root(folder), {folder.resolve()}
    pending = [folder]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                path = Path(entry.path)
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    # A folder that is linked from inside is read where it is.
                    if entry.is_symlink():
                        _check_link(path, root)
                    target = path.resolve()
                    if target not in seen and (not entry.is_symlink() or not target.is_relative_to(folder.resolve())):
                        seen.add(target)
                        pending.append(path)
                elif format_of(entry.name) or is_image(entry.name) or is_caption(entry.name):
                    if entry.is_symlink():
                        _check_link(path, root)
                    elif not entry.is_file():
                        raise InputError(f"{shown_path(path)} in the prompts folder is neither a file nor a folder.")
                    yield path.relative_to(folder).as_posix()


def _root(folder: Path) -> Path:
    """The folder that links may lead into: itself, or the repository in the Hub's cache, where files are links."""
    folder = folder.resolve()
    for snapshot in (folder, *folder.parents):
        if snapshot.parent.name == "snapshots" and (snapshot.parent.parent / "blobs").is_dir():
            return snapshot.parent.parent
    return folder


def _check_link(path: Path, root: Path) -> None:
    if not path.resolve().is_relative_to(root) and os.environ.get(FOLLOW_LINKS) != "1":
        raise InputError(
            f"{shown_path(path)} is a link that leads out of the prompts folder: copy what it leads to, or set "
            f"{FOLLOW_LINKS}=1 if you made this link."
        )


def natural(name: str) -> list[tuple[int, str]]:
    """Sort key by which part-2 comes before part-10."""
    parts = re.split(r"([0-9]+)", name)
    return [(int(part) if number % 2 else 0, part) for number, part in enumerate(parts)]


def is_image(name: str) -> bool:
    """True if a file is an image by its name."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def is_caption(name: str) -> bool:
    """True if a file is the caption of an image, or a text file of prompts, by its name."""
    return name.lower().endswith(CAPTION_SUFFIXES)


def stem(name: str) -> str:
    """A path without its last suffix."""
    return str(PurePosixPath(name).with_suffix(""))


def names_by_stem(names: Iterable[str]) -> dict[str, str]:
    """Path without suffix -> the first file of that path."""
    found: dict[str, str] = {}
    for name in names:
        found.setdefault(stem(name), name)
    return found
