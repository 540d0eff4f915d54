"""Names of the dataset's Parquet files, wherever they are made, matched or shown, and the record of a committed one."""

from __future__ import annotations

import re
from dataclasses import dataclass

GLOB = "train-*.parquet"
"""Matches every committed file in the dataset's data folder."""

DATA_FILES = f"data/{GLOB}"
"""The same below the dataset's folder, as ``datasets.load_dataset`` takes it."""

_NAME = re.compile(r"train-([0-9]{5}|[1-9][0-9]{5,})(-[0-9a-f]{8})?[.]parquet")


@dataclass(frozen=True, slots=True)
class CommittedFile:
    """One finished Parquet file of the dataset."""

    name: str
    rows: int
    bytes: int
    sha256: str

    @property
    def number(self) -> int:
        """Its place among the dataset's files: the number in its name."""
        return number_of(self.name)


def file_name(number: int, sha256: str) -> str:
    """The name of the file with this content at this place: no name is ever used for another content."""
    return f"train-{number:05d}-{sha256[:8]}.parquet"


def number_of(name: str) -> int:
    """A file's place among the dataset's files: the number in its name."""
    return int(re.split("[-.]", name)[1])


def fits_name(name: str, sha256: str) -> bool:
    """Whether a file of this name can have this content. Version 0.1.0 gave names without a part of the hash."""
    content = re.split("[-.]", name)[2]
    return content in ("parquet", sha256[:8])


def is_file_name(name: str) -> bool:
    """Whether a committed file can have this name: ``file_name`` gives it for some number and content."""
    return _NAME.fullmatch(name) is not None


def is_data_path(path: str) -> bool:
    """Whether a committed file can lie there, below the dataset's folder or in its repository on the Hub."""
    folder, _, name = path.rpartition("/")
    return folder == "data" and is_file_name(name)
