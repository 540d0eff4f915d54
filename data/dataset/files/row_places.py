"""Places of a judged dataset's rows: where each one is, where it belongs, and its columns there."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from imagemill.data.dataset.arrow_table import mask_of, table_of
from imagemill.data.dataset.carried.arrow_kinds import IMAGE
from imagemill.data.dataset.files.area import DATA, REJECTED, AreaName
from imagemill.data.dataset.files.outcomes import FileOutcomes, outcomes_in
from imagemill.data.dataset.files.placement import FilePlaces, Place, Placement, Placements, RejectedMode
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.parquet import as_field, encoding_of, read_columns, read_schema
from imagemill.data.dataset.schema import IMAGES, DatasetSchema
from imagemill.data.storage.locations import Location, arrow_source

CHUNK = 8192
"""Rows whose placements are computed at a time."""

_Decision = tuple[Place | None, Mapping[str, Any]]
"""Destination of a row, None for nowhere, and its outcomes."""


class _Rows:
    """Some rows of a file: their keys, and what else is only converted for the few rows that need it."""

    def __init__(self, table: pa.Table, image: str) -> None:
        self.table = table
        self.keys: list[str] = table["row_key"].to_pylist()
        self._image = image

    @cached_property
    def _plain(self) -> list[dict[str, Any]]:
        return self.table.to_pylist()

    @cached_property
    def _without_image(self) -> list[bool]:
        if self._image not in self.table.column_names:
            return [True] * len(self.keys)
        return self.table[self._image].is_null().to_pylist()

    def outcomes(self, number: int) -> Mapping[str, Any]:
        """The outcomes that a row has."""
        return self._plain[number]

    def lacks_image(self, number: int) -> bool:
        """True if a row of rejected/ has no last image."""
        return self._without_image[number]


class RowPlaces:
    """Decides for every committed row of both areas. ``files`` must be called before the other methods."""

    def __init__(
        self, folder: Folder, schema: DatasetSchema, placements: Placements, rejected: RejectedMode = "keep"
    ) -> None:
        self._schemas = {DATA: schema.arrow(), REJECTED: schema.rejected().arrow()}
        self._image = schema.image_columns[-1]
        self._placements = placements
        self._rejected = rejected
        self._files = [
            FilePlaces(area.name, file, area.path / file.name, read_schema(area.path / file.name))
            for area in folder.areas
            for file in area.committed()[0]
        ]
        self._chosen: dict[str, tuple[Location, int]] = {}
        """Row key that more than one row has -> file and number of the row that remains."""

    def files(self) -> list[FilePlaces]:
        """The committed files, after reading the columns of each that decide."""
        self._chosen = self._choose(self._repeated())
        for file in self._files:
            self._look_at(file)
        return self._files

    def schema_of(self, file: FilePlaces, area: AreaName | None = None) -> pa.Schema:
        """The schema that the rows of a file get in an area, by default in theirs; their images keep their encoding."""
        target = self._schemas[area or file.area]
        return target.with_metadata({**target.metadata, b"imagemill": encoding_of(file.schema, file.path)})

    def tables(self, file: FilePlaces, moved: bool) -> Iterator[tuple[Place, pa.Table]]:
        """The file's rows that stay, or those that move, as they are at their place; a row group at a time."""
        with pq.ParquetFile(arrow_source(file.path)) as parquet:
            first = 0
            for group in range(parquet.num_row_groups):
                rows = _Rows(parquet.read_row_group(group, columns=self._columns(file)), self._image)
                decided = self._decide(file, first, rows)
                first += len(rows.keys)
                wanted = {place for place, _ in decided if place and (place != file.here) == moved}
                if not wanted:
                    continue
                table = parquet.read_row_group(group)
                for place in sorted(wanted):
                    is_wanted = [there == place for there, _ in decided]
                    outcomes = [values for there, values in decided if there == place]
                    part = table if all(is_wanted) else table.filter(mask_of(is_wanted))
                    yield place, self._converted(part, file, place[0], outcomes)

    def _converted(
        self, table: pa.Table, file: FilePlaces, area: AreaName, outcomes: Sequence[Mapping[str, Any]]
    ) -> pa.Table:
        """Rows of a file with an area's columns. What an outcome's column was called before is carried on."""
        target, before = self.schema_of(file, area), outcomes_in(file.schema)
        after = outcomes_in(target)
        carried = {stored: column for column, stored in after.renamed.items()}
        values = table_of(outcomes, _outcome_schema(target, after))
        columns = []
        for column in target:
            if column.name in after.names:
                columns.append(values[column.name])
            elif column.type in (IMAGE, IMAGES) and area == REJECTED and self._rejected == "scores":
                columns.append(pa.nulls(table.num_rows, column.type))
            else:
                columns.append(as_field(table, column, before.stored(carried.get(column.name, column.name))))
        return pa.Table.from_arrays(columns, schema=target)

    def _look_at(self, file: FilePlaces) -> None:
        target = self.schema_of(file)
        outcomes, before = outcomes_in(target), outcomes_in(file.schema)
        with pq.ParquetFile(arrow_source(file.path)) as parquet:
            file.is_changed = outcomes != before or not file.schema.equals(target) or self._keeps_images(file, parquet)
            first = 0
            for batch in parquet.iter_batches(CHUNK, columns=self._columns(file)):
                rows = _Rows(pa.Table.from_batches([batch]), self._image)
                decided = self._decide(file, first, rows)
                first += len(rows.keys)
                staying = [place == file.here for place, _ in decided]
                removed = sum(place is None for place, _ in decided)
                file.staying += sum(staying)
                file.removed += removed
                file.moved += len(staying) - sum(staying) - removed
                if not file.is_changed and outcomes.names:
                    found = rows.table.select(outcomes.names)
                    found = found if all(staying) else found.filter(mask_of(staying))
                    after = [values for (_, values), stays in zip(decided, staying, strict=True) if stays]
                    file.is_changed = not found.equals(table_of(after, found.schema))

    def _keeps_images(self, file: FilePlaces, parquet: pq.ParquetFile) -> bool:
        """True if a file in rejected/ has images that the recipe wants no longer."""
        if file.area != REJECTED or self._rejected != "scores":
            return False
        images = {column.name for column in file.schema if column.type in (IMAGE, IMAGES)}
        groups = (parquet.metadata.row_group(number) for number in range(parquet.num_row_groups))
        chunks = (group.column(number) for group in groups for number in range(group.num_columns))
        return any(
            chunk.statistics is None or chunk.statistics.null_count < chunk.num_values
            for chunk in chunks
            if chunk.path_in_schema.partition(".")[0] in images
        )

    def _columns(self, file: FilePlaces) -> list[str]:
        """Columns of a row that decide: its key, its outcomes, and in rejected/ whether it has its image."""
        known = outcomes_in(file.schema).names
        columns = ["row_key", *(name for name in outcomes_in(self._schemas[file.area]).names if name in known)]
        if file.area == REJECTED and self._image in file.schema.names:
            columns.append(f"{self._image}.path")
        return columns

    def _decide(self, file: FilePlaces, first: int, rows: _Rows) -> list[_Decision]:
        """Decide for a file's rows from number ``first`` on."""
        decided: list[_Decision] = []
        for start in range(0, len(rows.keys), CHUNK):
            keys = rows.keys[start : start + CHUNK]
            placed = self._placements(keys)
            for number, key in enumerate(keys, start):
                is_second = key in self._chosen and self._chosen[key] != (file.path, first + number)
                decided.append((None, {}) if is_second else self._wanted(file, rows, number, placed.get(key)))
        return decided

    def _wanted(self, file: FilePlaces, rows: _Rows, number: int, placement: Placement | None) -> _Decision:
        if placement and placement.area == DATA and self._lacks_image(file, rows, number):
            placement = None
        if placement is None:
            place: Place | None = file.here
        else:
            place = (placement.area, placement.split) if placement.area else None
        if place and place[0] == REJECTED and self._rejected == "drop":
            place = None
        return place, rows.outcomes(number) if placement is None else placement.outcomes

    def _lacks_image(self, file: FilePlaces, rows: _Rows, number: int) -> bool:
        return file.area == REJECTED and rows.lacks_image(number)

    def _repeated(self) -> set[str]:
        """Row keys that more than one row has. Eight bytes of memory a row."""
        hashes = array("q")
        for keys in self._keys():
            hashes.extend(map(hash, keys))
        ordered = np.sort(np.frombuffer(hashes, np.int64)) if hashes else np.empty(0, np.int64)
        suspects = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
        seen: set[str] = set()
        repeated: set[str] = set()
        for keys in self._keys() if suspects else ():
            for key in (key for key in keys if hash(key) in suspects):
                (repeated if key in seen else seen).add(key)
        return repeated

    def _keys(self) -> Iterator[list[str]]:
        for file in self._files:
            for columns in read_columns(file.path, ["row_key"]):
                yield columns["row_key"]

    def _choose(self, repeated: set[str]) -> dict[str, tuple[Location, int]]:
        """The best row of each repeated key: the first that is in its place, or that can go there."""
        best: dict[str, tuple[tuple[int, bool], Location, int]] = {}
        for file in self._files if repeated else ():
            first = 0
            with pq.ParquetFile(arrow_source(file.path)) as parquet:
                for batch in parquet.iter_batches(CHUNK, columns=self._columns(file)):
                    rows = _Rows(pa.Table.from_batches([batch]), self._image)
                    doubtful = [number for number, key in enumerate(rows.keys) if key in repeated]
                    placed = self._placements([rows.keys[number] for number in doubtful])
                    for number in doubtful:
                        key = rows.keys[number]
                        lacks_image = self._lacks_image(file, rows, number)
                        rank = (self._rank(file, rows, number, placed.get(key)), lacks_image)
                        if key not in best or rank < best[key][0]:
                            best[key] = (rank, file.path, first + number)
                    first += len(rows.keys)
        return {key: (path, number) for key, (_, path, number) in best.items()}

    def _rank(self, file: FilePlaces, rows: _Rows, number: int, placement: Placement | None) -> int:
        place, _ = self._wanted(file, rows, number, placement)
        if place != file.here:
            return 1
        is_blocked = placement is not None and (placement.area, placement.split) != file.here
        return 2 if is_blocked else 0


def _outcome_schema(schema: pa.Schema, outcomes: FileOutcomes) -> pa.Schema:
    return pa.schema([schema.field(name) for name in outcomes.names])
