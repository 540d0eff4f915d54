"""One flat folder of images, each with a .txt of its caption, as dreambooth's class folder and sd-scripts take it."""

from __future__ import annotations

from imagemill.data.export.entry import Choices, Entry, ImageOf, LeftOut, Named, Row
from imagemill.data.export.row_images import caption_of, suffixes_of, tail


def files(row: Row, named: Named, choices: Choices) -> Entry | LeftOut:
    """``NAME.png`` (or ``NAME.input.png`` and ``NAME.output.png``) and ``NAME.txt``."""
    images: dict[str, ImageOf | str] = {
        f"{named.stem}{tail(image, '.')}{suffix}": ImageOf(image) for image, suffix in suffixes_of(row).items()
    }
    caption = caption_of(row, choices)
    # sd-scripts stops at an empty file of captions.
    return Entry(images | {f"{named.stem}.txt": caption} if caption else images)
