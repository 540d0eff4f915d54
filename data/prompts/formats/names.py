"""Names of prompts files: the format and the compression that their suffixes stand for."""

from __future__ import annotations

from pathlib import PurePosixPath

FORMATS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".txt", ".arrow", ".feather", ".tar")
COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")

TABLES = (".csv", ".tsv")
"""Formats whose first line names the fields."""


def suffix_of(path: str) -> str:
    """The suffix, in lower case, that names the file's format: the last one that is no compression."""
    suffixes = PurePosixPath(path.lower()).suffixes
    while suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def format_of(path: str) -> str | None:
    """The format of a prompts file; None if it is none by its name."""
    suffix = suffix_of(path)
    return suffix if suffix in FORMATS else None
