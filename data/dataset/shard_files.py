"""Committed Parquet files: their record and their names."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CommittedFile:
    """One finished Parquet file of the dataset."""

    name: str
    rows: int
    bytes: int
    sha256: str

    @property
    def number(self) -> int:
        """Its place among the dataset's files: what its name has after train-."""
        return int(re.split("[-.]", self.name)[1])


def file_name(number: int, content: str = "") -> str:
    """The name of a Parquet file at this place; ``content``: where another has been there, the sha256 of its bytes."""
    return f"train-{number:05d}{content and '-'}{content[:8]}.parquet"
