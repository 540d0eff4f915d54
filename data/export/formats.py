"""Export formats: the files of each row's images, and the row's line of metadata.

A row's number in the dataset, counted from 0 over its files in order, names its images.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from imagemill.data.export.dpo import write_dpo
from imagemill.data.export.metadata import beside_file_names, json_columns

Row = Mapping[str, Any]
NumberedRows = Iterable[tuple[int, Row]]

ROWS_PER_FOLDER = 1000
"""Rows whose images share a folder: file systems and file managers are slow with hundreds of thousands of files."""

_JPEG = {".jpg", ".jpeg", ".jpe", ".jfif"}
SUFFIXES = _JPEG | {".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".heic", ".heif"}
"""Suffixes of image files, as input images keep them."""

IMAGES = ("image", "input_image", "edited_image", "mask_image", "control_image", "image_prompt", "image_0", "image_1")
"""Columns of images, in the order in which the images are made; the last two are those of a preference pair."""


@dataclass(frozen=True, slots=True)
class Format:
    """One export format."""

    what: str
    """Description for the user, in a few words."""
    write: Callable[[Path, int, NumberedRows], Iterator[dict[str, Any]]]
    """(target folder, part, rows of the part): writes the images and yields the lines of metadata. Repeated for a part,
    it writes the same files again."""
    lines: str | None
    """Name of the file of all lines of metadata, in order; None for a format without one."""
    sources: tuple[str, ...] = ("data", "rejected")
    """Folders of a dataset whose rows fit."""


def images_of(row: Row) -> dict[str, tuple[bytes, str]]:
    """Image column -> the image's bytes and suffix, such as ``.png``, in the order in which the images were made.

    The images of input_images are ``reference 1`` and so on.
    """
    images = {name: row[name] for name in IMAGES if isinstance(row.get(name), Mapping)}
    images |= {f"reference {number}": image for number, image in enumerate(row.get("input_images") or (), 1)}
    return {name: (image["bytes"], _suffix(image["path"])) for name, image in images.items()}


def _suffix(path: str | None) -> str:
    """The suffix of an image's file; the file may be from someone else, so that it is never that of a program."""
    suffix = PurePosixPath(path or "").suffix.lower()
    return suffix if suffix in SUFFIXES else ".png"


def _other_columns(row: Row) -> dict[str, Any]:
    return json_columns(row, without=(*IMAGES, "input_images"))


def _put(target: Path, name: str, content: bytes) -> str:
    path = target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return name


def _imagefolder(target: Path, part: int, rows: NumberedRows) -> Iterator[dict[str, Any]]:
    for number, row in rows:
        # Also of an image that this row lacks: `datasets` reads no file whose lines have different fields.
        names: dict[str, Any] = {_file_name_field(column): None for column in IMAGES if column in row}
        if "input_images" in row:
            names["input_images_file_names"] = []
        for column, (content, suffix) in images_of(row).items():
            name = f"images/{number // ROWS_PER_FOLDER:06d}/{number:09d}{_tail(column, '-')}{suffix}"
            # `datasets` reads the column edited_image from the field edited_image_file_name.
            if column.startswith("reference"):
                names["input_images_file_names"].append(_put(target, name, content))
            else:
                names[_file_name_field(column)] = _put(target, name, content)
        yield beside_file_names(_other_columns(row), names)


def _file_name_field(column: str) -> str:
    return "file_name" if column == "image" else f"{column}_file_name"


def _files(target: Path, part: int, rows: NumberedRows) -> Iterator[dict[str, Any]]:
    for number, row in rows:
        stem = f"{number // ROWS_PER_FOLDER:06d}/{number:09d}"
        for column, (content, suffix) in images_of(row).items():
            _put(target, f"{stem}{_tail(column, '.')}{suffix}", content)
        _put(target, f"{stem}.txt", (row.get("edit_prompt") or row.get("prompt") or "").encode())
        yield from ()


def _webdataset(target: Path, part: int, rows: NumberedRows) -> Iterator[dict[str, Any]]:
    path = target / f"train-{part:05d}.tar"
    scratch = path.with_name(f".{path.name}.tmp")
    with tarfile.open(scratch, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number, row in rows:
            key = f"{number:09d}"
            for column, (content, suffix) in images_of(row).items():
                _add(tar, f"{key}{_tail(column, '.')}{suffix}", content)
            _add(tar, f"{key}.json", json.dumps(_other_columns(row), ensure_ascii=False).encode())
    scratch.replace(path)
    yield from ()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    # No owner and no time, so that equal rows give equal bytes.
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _tail(column: str, mark: str) -> str:
    if column.startswith("reference"):
        return mark + column.replace(" ", "")
    names = {
        "input_image": "input",
        "edited_image": "output",
        "mask_image": "mask",
        "control_image": "control",
        "image_prompt": "image_prompt",
        "image_0": "0",
        "image_1": "1",
    }
    return f"{mark}{names[column]}" if column in names else ""


def _dataflow(target: Path, part: int, rows: NumberedRows) -> Iterator[dict[str, Any]]:
    for number, row in rows:
        images = images_of(row)
        if not images.keys() & {"image", "edited_image"}:
            # A rejected row may lack its image.
            continue
        prompt = row.get("edit_prompt") if "edited_image" in images else row.get("prompt")
        line: dict[str, Any] = {"conversations": [{"content": prompt, "role": "user"}]}
        if "edited_image" in images:
            sample = f"sample_{number}"
            before, after = images["input_image"], images["edited_image"]
            line["images"] = [str(target / _put(target, f"{sample}/{sample}_input{before[1]}", before[0]))]
            for name in [name for name in images if name.startswith("reference")]:
                content, suffix = images[name]
                line["images"].append(
                    str(target / _put(target, f"{sample}/{sample}{_tail(name, '_')}{suffix}", content))
                )
            line["output_image"] = [str(target / _put(target, f"{sample}/{sample}_0{after[1]}", after[0]))]
        else:
            sample, (content, suffix) = f"sample{number}_condition0", images["image"]
            line["images"] = [str(target / _put(target, f"{sample}/{sample}_0{suffix}", content))]
        yield {**line, "id": row["id"]}


_ALL = ("data", "rejected", "pairs")

FORMATS = {
    "imagefolder": Format("images and metadata.jsonl, as `datasets` reads them", _imagefolder, "metadata.jsonl", _ALL),
    "webdataset": Format("tar files of about 1 GB", _webdataset, None, _ALL),
    "dataflow": Format("DataFlow's JSONL of conversations, images and output_image", _dataflow, "dataflow.jsonl"),
    "files": Format("images, each with a .txt of its prompt or instruction", _files, None),
    "dpo": Format(
        "Parquet of preference pairs, as diffusers' Diffusion-DPO script reads it", write_dpo, None, ("pairs",)
    ),
}
