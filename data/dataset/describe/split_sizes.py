"""Rows and bytes of each split, for the card's text.

They are not in the card's head: `datasets` compares the head's figures with what it finds, and would refuse a dataset
that is opened while a build adds to it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from imagemill.data.dataset.files.area import DATA, files_of
from imagemill.data.dataset.files.shard_files import split_of_file, splits_among

_HEADING = "| split | rows | bytes |\n|---|---:|---:|\n"
_TABLE = re.compile(re.escape(_HEADING) + r"(?:\| [a-z0-9_]+ \| [0-9,]+ \| [0-9,]+ \|\n)*")


def split_sizes(manifest: Mapping[str, Any]) -> str:
    """A table with the rows and bytes of each split of data/; empty where the manifest lists no file."""
    files = files_of(manifest, DATA)
    lines = []
    for split in splits_among(file["name"] for file in files):
        of_split = [file for file in files if split_of_file(file["name"]) == split]
        rows, size = (sum(file[name] for file in of_split) for name in ("rows", "bytes"))
        lines.append(f"| {split} | {rows:,} | {size:,} |\n")
    return f"\n{_HEADING}{''.join(lines)}" if lines else ""


def with_split_sizes(card: str, manifest: Mapping[str, Any]) -> str:
    """The card's text with the figures of this manifest in place of its own; one without them stays as it is."""
    table = split_sizes(manifest).removeprefix("\n")
    return _TABLE.sub(lambda _: table, card, count=1)
