"""Reader of a folder of images as prompts: a caption beside each image, or a metadata file that names them.

An image's row has its path below the folder, without suffix, as id: `10_cat/red` for `10_cat/red.png`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any

from imagemill.data.messages import shown
from imagemill.data.prompts.field_names import RoleNames
from imagemill.data.prompts.formats.line_formats import Record, decode
from imagemill.data.prompts.formats.text_file import TextFile
from imagemill.data.prompts.local_files import (
    CAPTION_SUFFIXES,
    METADATA,
    Listing,
    is_caption,
    is_image,
    names_by_stem,
    stem,
)

log = logging.getLogger("imagemill")

MAX_CAPTION_BYTES = 2**20

FILE_NAME = "file_name"
"""Field of a metadata file with the image's path, relative to the metadata file."""

ReadFile = Callable[[str], Iterator[Record]]


def read_image_folder(listing: Listing, roles: RoleNames, read_file: ReadFile) -> Iterator[Record]:
    """Yield a row for each image, or for each line of the metadata; ``read_file`` reads such a file of the folder."""
    metadata = [name for name in listing.files if PurePosixPath(name).name.lower() in METADATA]
    if metadata:
        images = {name for name in listing.files if is_image(name)}
        yield from _with_metadata(metadata, images, roles, read_file)
    else:
        yield from _with_captions(listing, roles)


def _with_captions(listing: Listing, roles: RoleNames) -> Iterator[Record]:
    images = [name for name in listing.files if is_image(name)]
    # .txt before .caption, if an image has both.
    captions = sorted(
        filter(is_caption, listing.files), key=lambda name: not name.lower().endswith(CAPTION_SUFFIXES[0])
    )
    caption_of = names_by_stem(captions)
    numbers = count(1)
    for image in images:
        fields = roles.fields(stem(image), image)
        caption = caption_of.get(stem(image))
        text, fault = _caption(listing.folder / caption) if caption else ("", None)
        if text:
            fields[roles.prompt] = text
        yield Record(next(numbers), fields) if fault is None else Record(next(numbers), None, f"{caption}: {fault}")
    known = {stem(image) for image in images}
    for caption in captions:
        if stem(caption) not in known:
            yield Record(next(numbers), None, f"there is no image beside {shown(caption)}")


def _caption(path: Path) -> tuple[str, str | None]:
    try:
        with path.open("rb") as file:
            text = TextFile(file)
            content = b"".join(iter(lambda: text.read(MAX_CAPTION_BYTES), b"")) if _is_small(path) else None
    except OSError as error:
        return "", f"cannot be read ({error.strerror})"
    if content is None:
        return "", f"the caption has over {MAX_CAPTION_BYTES // 2**20} MiB"
    caption, fault = decode(content)
    return caption.strip(), fault


def _is_small(path: Path) -> bool:
    return path.stat().st_size <= MAX_CAPTION_BYTES


def _with_metadata(metadata: list[str], images: set[str], roles: RoleNames, read_file: ReadFile) -> Iterator[Record]:
    line, used = 0, set()
    for name in metadata:
        before = line
        for record in read_file(name):
            line = before + record.line
            fields, fault = record.fields, record.fault
            image = _named(fields, PurePosixPath(name).parent) if fields is not None else ""
            if image in images and fields is not None:
                used.add(image)
                others = {key: value for key, value in fields.items() if key != FILE_NAME}
                fields = {**roles.fields(stem(image), image), **others}
            elif fields is not None:
                fault = f"{shown(fields.get(FILE_NAME))} ({FILE_NAME}) is no image of the folder"
                fields = None
            yield record._replace(line=line, fields=fields, fault=fault and f"{name}, line {record.line}: {fault}")
    if len(images) > len(used):
        log.warning("%s of the folder's %s images are in no metadata file.", len(images) - len(used), len(images))


def _named(fields: dict[str, Any], folder: PurePosixPath) -> str:
    """Path below the folder of the image that a line of the metadata names."""
    name = fields.get(FILE_NAME)
    return str(folder / name) if isinstance(name, str) else ""
