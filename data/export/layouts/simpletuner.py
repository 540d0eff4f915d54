"""Folders as in ``pairs``, as SimpleTuner takes them: an image and its controls also have the same suffix."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath

from imagemill.data.export.entry import Choices, Entry, ImageOf, LeftOut, Named, Row
from imagemill.data.export.layouts.pairs import pairs


def simpletuner(row: Row, named: Named, choices: Choices) -> Entry | LeftOut:
    """The files of ``pairs``, without musubi.jsonl; all as PNG where their suffixes differ."""
    entry = pairs(row, named, choices)
    if isinstance(entry, LeftOut):
        return entry
    images = {name: content for name, content in entry.files.items() if isinstance(content, ImageOf)}
    if len({PurePosixPath(name).suffix for name in images}) == 1:
        return Entry(entry.files)
    files: dict[str, ImageOf | str] = {
        str(PurePosixPath(name).with_suffix(".png")): replace(content, as_png=not name.endswith(".png"))
        for name, content in images.items()
    }
    return Entry(files | {name: content for name, content in entry.files.items() if isinstance(content, str)})
