"""Names of the dataset's Parquet files, wherever they are made, matched or shown, and the record of a committed one.

A name says the split, the place among the files, and the start of the content's sha256: train-00000-3f9a2b1c.parquet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

TRAIN = "train"
"""The split of every row of a dataset without others."""

GLOB = f"{TRAIN}-*.parquet"
"""Matches every committed file of this split in the dataset's data folder."""

DATA_FILES = f"data/{GLOB}"
"""The same below the dataset's folder, as ``datasets.load_dataset`` takes it."""

_NUMBER, _HASH = "([0-9]{5}|[1-9][0-9]{5,})", "-[0-9a-f]{8}"
# Version 0.1.0, which had no other split, gave names without a part of the hash.
_NAME = re.compile(rf"train-{_NUMBER}({_HASH})?[.]parquet|[a-z][a-z0-9_]*-{_NUMBER}{_HASH}[.]parquet")


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

    @property
    def split(self) -> str:
        """The split of its rows: the first part of its name."""
        return split_of_file(self.name)


def file_name(number: int, sha256: str, split: str = TRAIN) -> str:
    """The name of the file with this content at this place: no name is ever used for another content."""
    return f"{split}-{number:05d}-{sha256[:8]}.parquet"


def number_of(name: str) -> int:
    """A file's place among the dataset's files: the number in its name."""
    return int(re.split("[-.]", name)[1])


def split_of_file(name: str) -> str:
    """The split of a file's rows: the first part of its name."""
    return name.partition("-")[0]


def splits_among(names: Iterable[str]) -> list[str]:
    """The splits of these files: train first, the others by name."""
    return sorted({split_of_file(name) for name in names}, key=lambda split: (split != TRAIN, split))


def data_files(root: str, names: Iterable[str]) -> str | dict[str, str]:
    """Argument of ``datasets.load_dataset`` that opens these files in data/: a pattern, or one for each split."""
    splits = splits_among(names)
    if splits in ([], [TRAIN]):
        return f"{root}/{DATA_FILES}"
    return {split: f"{root}/data/{split}-*.parquet" for split in splits}


def fits_name(name: str, sha256: str) -> bool:
    """True if a file of this name can have this content. Version 0.1.0 gave names without a part of the hash."""
    content = re.split("[-.]", name)[2]
    return content in ("parquet", sha256[:8])


def is_file_name(name: str) -> bool:
    """True if a committed file can have this name: ``file_name`` gives it for some split, number and content."""
    return _NAME.fullmatch(name) is not None


def is_data_path(path: str, area: str = "data") -> bool:
    """True if a committed file can lie there, below the dataset's folder or in its repository on the Hub."""
    folder, _, name = path.rpartition("/")
    return folder == area and is_file_name(name)
