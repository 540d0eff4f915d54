"""Names of prompts files: the format and the compression that their suffixes stand for."""

from __future__ import annotations

from pathlib import PurePosixPath

FORMATS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".txt", ".arrow", ".feather", ".tar")
COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")

_MAGIC = {
    b"\x1f\x8b": ".gz",
    b"BZh": ".bz2",
    b"\xfd7zXZ\0": ".xz",
    b"\x28\xb5\x2f\xfd": ".zst",
    b"PAR1": ".parquet",
    b"ARROW1": ".arrow",
    b"PK\3\4": ".zip",
}
"""First bytes of a file that is no text -> the suffix that its name should have."""

HINTS = {
    ".xlsx": "save the sheet as CSV in UTF-8",
    ".xls": "save the sheet as CSV in UTF-8",
    ".ods": "save the sheet as CSV in UTF-8",
    ".numbers": "export the sheet as CSV in UTF-8",
    ".zip": "unpack it, and name the file or folder in it",
    ".7z": "unpack it, and name the file or folder in it",
    ".rar": "unpack it, and name the file or folder in it",
    ".yaml": "save it as JSON Lines",
    ".yml": "save it as JSON Lines",
    ".pkl": "save it as Parquet: opening a pickle can run its code",
    ".pt": "save it as Parquet: opening a pickle can run its code",
    ".npy": "save it as Parquet",
    ".npz": "save it as Parquet",
    ".h5": "save it as Parquet",
    ".db": "save its table as Parquet or CSV",
    ".sqlite": "save its table as Parquet or CSV",
}
"""Suffix of files that hold rows in a form that is not read -> what to do."""

TABLES = (".csv", ".tsv")
"""Formats whose first line names the fields."""


def suffix_of(path: str) -> str:
    """The suffix, in lower case, that names the file's format: the last one that is no compression."""
    suffixes = PurePosixPath(path.lower()).suffixes
    while suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def suffix_by_content(head: bytes) -> str | None:
    """The suffix of a file that begins like this, if it is one that is no text."""
    found = next((magic for magic in _MAGIC if head.startswith(magic)), None)
    # A text may begin with those letters, but has no zero bytes.
    return _MAGIC[found] if found and (b"\0" in head or not found.isascii()) else None


def format_of(path: str) -> str | None:
    """The format of a prompts file; None if it is none by its name."""
    suffix = suffix_of(path)
    return suffix if suffix in FORMATS else None
