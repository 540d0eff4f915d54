"""The rows of an export: read once without images for their names and lines, and again with images where needed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from imagemill.data.dataset.reader import read_numbered_rows
from imagemill.data.dataset.where import Where
from imagemill.data.export.entry import Choices, Named, Row
from imagemill.data.export.metadata import large_integers
from imagemill.data.export.names import NAMED_BY, names_of
from imagemill.data.storage.locations import Location


@dataclass(frozen=True)
class Source:
    """The rows that are exported, in the order of the dataset's files."""

    paths: Sequence[Location]
    digests: Sequence[str]
    """SHA-256 of each file."""
    where: Where | None
    choices: Choices

    @cached_property
    def names(self) -> list[Named]:
        """The name of each row, in order."""
        columns = [*NAMED_BY, self.choices.name or "id", *([self.choices.by_class] if self.choices.by_class else [])]
        rows = (row for path in self.paths for _, row in read_numbered_rows(path, columns, self.where))
        return names_of(rows, self.choices)

    @cached_property
    def _as_text(self) -> Collection[str]:
        return large_integers(self.paths)

    def light_rows(self) -> Iterator[tuple[int, int, Row, Named]]:
        """(place of the file, number in it, the row without its images' bytes, its name) of each row."""
        names = iter(self.names)
        for place, path in enumerate(self.paths):
            for number, row in read_numbered_rows(path, where=self.where, image_bytes=False):
                yield place, number, self._readable(row), next(names)

    def rows_in(self, place: int, only: Mapping[int, Named]) -> Iterator[tuple[Row, Named]]:
        """The rows of a file with these numbers, with their images."""
        for number, row in read_numbered_rows(self.paths[place], only=only):
            yield self._readable(row), only[number]

    def _readable(self, row: dict[str, Any]) -> Row:
        """The row with integers as text that readers of JSON refuse or round."""
        return row | {name: str(row[name]) for name in self._as_text if row.get(name) is not None}
