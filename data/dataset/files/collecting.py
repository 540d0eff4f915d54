"""Collector of rows for one place: they go into new files of an area, each committed when it is large enough."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count

import pyarrow as pa

from imagemill.data.dataset.files.area import Area
from imagemill.data.dataset.files.compaction import FILE_BYTES
from imagemill.data.dataset.files.placement import Place
from imagemill.data.dataset.files.table_file import TableFile
from imagemill.data.dataset.folder import Folder


class Collectors:
    """Collectors by place and encoding, which is one for a file. As a context, it commits what it has at its end."""

    def __init__(self, folder: Folder) -> None:
        self._folder, self._stack = folder, ExitStack()
        self._numbers = {area.name: _free_numbers(area) for area in folder.areas}
        self._collectors: dict[tuple[Place, bytes], _Collector] = {}

    def __enter__(self) -> Collectors:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        with self._stack:
            if kind is None:
                for collector in self._collectors.values():
                    collector.commit()

    def add(self, place: Place, table: pa.Table) -> None:
        """Add rows for a place, with the columns and the metadata of its files."""
        key = (place, table.schema.metadata[b"imagemill"])
        if key not in self._collectors:
            self._collectors[key] = _Collector(self._folder, self._numbers[place[0]], place)
        self._collectors[key].add(table, self._stack)


class _Collector:
    """The file, or one after the other, that collects the rows for one place and encoding."""

    def __init__(self, folder: Folder, numbers: Iterator[int], place: Place) -> None:
        self._folder, self._numbers, self._place = folder, numbers, place
        self._file: TableFile | None = None

    def add(self, table: pa.Table, stack: ExitStack) -> None:
        """Add rows; a file that is large enough is committed."""
        if self._file is None:
            self._number = next(self._numbers)
            scratch = self._folder.scratch(f"moved-{self._place[0]}-{self._number}.parquet")
            self._file = stack.enter_context(TableFile(scratch, table.schema))
        self._file.add(table)
        if self._file.size >= FILE_BYTES:
            self.commit()

    def commit(self) -> None:
        """Move what there is into its area."""
        if self._file is not None:
            file, area = self._file.finish(), self._folder.area(self._place[0])
            area.commit(self._file.path, self._number, file, self._place[1])
            self._file = None


def _free_numbers(area: Area) -> Iterator[int]:
    """Numbers that no file of the area has."""
    return count(max((file.number for file in area.committed()[0]), default=-1) + 1)
