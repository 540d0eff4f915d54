"""Images of a row, as the formats name them."""

from __future__ import annotations

import io
from pathlib import PurePosixPath
from typing import Any

from PIL import ExifTags

from imagemill.data.export.entry import Choices, ImageOf, Row
from imagemill.data.images.codec import decode_image
from imagemill.data.images.opening import open_image

IMAGES = ("image", "input_image", "edited_image", "mask_image", "control_image", "image_prompt", "image_0", "image_1")
"""Columns of images, in the order in which the images are made; the last two are those of a preference pair."""

REFERENCES = "input_images"

ORIENTATION = ExifTags.Base.Orientation
"""EXIF's tag of how a camera was held: sd-scripts and musubi-tuner do not turn an image by it."""

_JPEG = {".jpg", ".jpeg", ".jpe", ".jfif"}
SUFFIXES = _JPEG | {".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".heic", ".heif"}
"""Suffixes of image files, as input images keep them."""

FOR_TRAINERS = {".png": ".png", ".jpg": ".jpg", ".jpeg": ".jpeg", ".jpe": ".jpg", ".jfif": ".jpg", ".webp": ".webp"}
"""Suffix -> the suffix under which every trainer opens the file: sd-scripts, musubi-tuner, ai-toolkit, DiffSynth."""

_ENCODED: dict[str, dict[str, Any]] = {
    "PNG": {},
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True},
}
"""Format -> how an image that had to be turned is encoded in it."""

_TAILS = {
    "input_image": "input",
    "edited_image": "output",
    "mask_image": "mask",
    "control_image": "control",
    "image_prompt": "image_prompt",
    "image_0": "0",
    "image_1": "1",
}


def suffixes_of(row: Row) -> dict[str, str]:
    """Image -> its suffix, such as ``.png``, in the order in which the images were made.

    An image is a column, or ``reference 1`` and so on for those of input_images.
    """
    images = {name: row[name] for name in IMAGES if isinstance(row.get(name), dict)}
    images |= {f"reference {number}": image for number, image in enumerate(row.get(REFERENCES) or (), 1)}
    return {name: _suffix(image["path"]) for name, image in images.items()}


def references_of(suffixes: dict[str, str]) -> list[str]:
    """The references among a row's images, in order."""
    return [image for image in suffixes if image.startswith("reference ")]


def final_of(suffixes: dict[str, str]) -> str | None:
    """The image that a model is trained to make; None where a rejected row lacks it."""
    if "input_image" in suffixes or "edited_image" in suffixes:
        return "edited_image" if "edited_image" in suffixes else None
    return "image" if "image" in suffixes else None


def for_trainers(image: str, suffix: str) -> tuple[str, ImageOf]:
    """The suffix and the file of an image in a folder that trainers read: PNG for what they do not open."""
    if suffix in FOR_TRAINERS:
        return FOR_TRAINERS[suffix], ImageOf(image, for_training=True)
    return ".png", ImageOf(image, for_training=True, as_png=True)


def bytes_of(row: Row, image: ImageOf) -> bytes:
    """The content of the image's file. Raises BadRow for one that cannot be converted."""
    if image.column.startswith("reference "):
        content: bytes = row[REFERENCES][int(image.column.removeprefix("reference ")) - 1]["bytes"]
    else:
        content = row[image.column]["bytes"]
    if not image.for_training:
        return content
    with open_image(io.BytesIO(content), image.column) as opened:
        form, is_upright = opened.format, opened.getexif().get(ORIENTATION, 1) == 1
    if is_upright and not image.as_png:
        return content
    converted = io.BytesIO()
    form = "PNG" if image.as_png or form not in _ENCODED else form
    decode_image(content, image.column).save(converted, form, **_ENCODED[form])
    return converted.getvalue()


def tail(image: str, mark: str) -> str:
    """Suffix that distinguishes the files of a row's images: ``-input``; empty for a generated image."""
    if image.startswith("reference"):
        return mark + image.replace(" ", "")
    return f"{mark}{_TAILS[image]}" if image in _TAILS else ""


def caption_of(row: Row, choices: Choices) -> str:
    """The row's caption, or an empty text."""
    if choices.caption is not None:
        return str(row.get(choices.caption) or "").strip()
    return (row.get("edit_prompt") or row.get("prompt") or "").strip()


def one_line(caption: str) -> str:
    """The caption as one line: of a text file sd-scripts reads the first alone, and SimpleTuner each as a caption."""
    return " ".join(caption.split())


def _suffix(path: str | None) -> str:
    """The suffix of an image's file; the file may be from someone else, so that it is never that of a program."""
    suffix = PurePosixPath(path or "").suffix.lower()
    return suffix if suffix in SUFFIXES else ".png"
