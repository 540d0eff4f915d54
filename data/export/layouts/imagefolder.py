"""Image folder with metadata.jsonl, as ``datasets`` reads it, also by classes, as torchvision reads it."""

from __future__ import annotations

import hashlib
from typing import Any

from imagemill.data.export.entry import Choices, Entry, ImageOf, LeftOut, Named, Row
from imagemill.data.export.metadata import beside_file_names, json_columns
from imagemill.data.export.row_images import IMAGES, REFERENCES, final_of, suffixes_of, tail


def imagefolder(row: Row, named: Named, choices: Choices) -> Entry | LeftOut:
    """``images/3f/NAME.png``: a folder for each of 256 parts, since file managers are slow with 100,000 files.

    By classes ``images/CLASS/NAME.png`` is the image that a model is trained to make, and ``others/COLUMN/NAME.png``
    each other one: torchvision's ImageFolder takes whatever lies in a class's folder.
    """
    suffixes = suffixes_of(row)
    final = final_of(suffixes)
    if choices.by_class and (named.folder is None or final is None):
        return LeftOut("without a class" if named.folder is None else "without an image")
    # Also of an image that this row lacks: `datasets` reads no file whose lines have different fields.
    names: dict[str, Any] = {_file_name_field(column): None for column in IMAGES if column in row}
    if REFERENCES in row:
        names["input_images_file_names"] = []
    files: dict[str, ImageOf | str] = {}
    part = hashlib.sha256(named.stem.encode()).hexdigest()[:2]
    for image, suffix in suffixes.items():
        name = f"images/{part}/{named.stem}{tail(image, '-')}{suffix}"
        if choices.by_class:
            folder = f"images/{named.folder}" if image == final else f"others/{image.replace(' ', '_')}"
            name = f"{folder}/{named.stem}{suffix}"
        files[name] = ImageOf(image)
        # `datasets` reads the column edited_image from the field edited_image_file_name.
        if image.startswith("reference"):
            names["input_images_file_names"].append(name)
        else:
            names[_file_name_field(image)] = name
    columns = json_columns(row, without=(*IMAGES, REFERENCES))
    return Entry(files, {"metadata.jsonl": beside_file_names(columns, names)})


def _file_name_field(column: str) -> str:
    return "file_name" if column == "image" else f"{column}_file_name"
