"""Size of a dataset on its card: the Hub's category, and in the text the rows and bytes of each split.

The splits' figures are not in the card's head: `datasets` compares the head's figures with what it finds, and would
refuse a dataset that is opened while a build adds to it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from imagemill.data.dataset.files.area import DATA, files_of
from imagemill.data.dataset.files.shard_files import split_of_file, splits_among

_HEADING = "| split | rows | bytes |\n|---|---:|---:|\n"
_TABLE = re.compile(re.escape(_HEADING) + r"(?:\| [a-z0-9_]+ \| [0-9,]+ \| [0-9,]+ \|\n)*")


_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
    (1_000_000_000, "100M<n<1B"),
    (10_000_000_000, "1B<n<10B"),
    (100_000_000_000, "10B<n<100B"),
    (1_000_000_000_000, "100B<n<1T"),
)


def size_category(rows: int) -> str:
    """The Hub's size category for a number of rows."""
    return next((name for limit, name in _SIZES if rows < limit), "n>1T")


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
    """The card's text with the figures of this manifest; a text without figures stays as it is."""
    table = split_sizes(manifest).removeprefix("\n")
    return _TABLE.sub(lambda _: table, card, count=1)
