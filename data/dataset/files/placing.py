"""Placing of a judged dataset's rows: each into its area and split, with its outcomes, by rewriting files alone.

Nothing is generated or scored. Files in which no row moves and no outcome changes are not touched. Rows reach their new
file before they leave the old one, so a kill loses none; the next call reduces rows that exist twice to one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from imagemill.data.dataset.files.collecting import Collectors
from imagemill.data.dataset.files.compaction import finish_merge, replace_files
from imagemill.data.dataset.files.outcomes import outcomes_in
from imagemill.data.dataset.files.placement import FilePlaces, Placements, RejectedMode
from imagemill.data.dataset.files.placement import Placement as Placement
from imagemill.data.dataset.files.row_places import RowPlaces
from imagemill.data.dataset.files.shard_files import file_name
from imagemill.data.dataset.files.table_file import TableFile
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.parquet import read_schema
from imagemill.data.dataset.schema import DatasetSchema


@dataclass(frozen=True, slots=True)
class Settled:
    """Count of the changes that brought every row to its place."""

    moved: int = 0
    """Rows that went to another area or split."""
    removed: int = 0
    """Rows that left the dataset, the second of two with one row key included."""
    rewritten_bytes: int = 0
    """Size of the files that others replaced."""


def settle(folder: Folder, schema: DatasetSchema, placements: Placements, rejected: RejectedMode = "keep") -> Settled:
    """Bring every committed row to its place, with the columns of ``schema`` and its outcomes; the folder is locked.

    A row that comes to data/ from rejected/ without its image stays where it is. Memory: a few row groups, and eight
    bytes a row. Can be called again after a failure.
    """
    finish_merge(folder)
    places = RowPlaces(folder, schema, placements, rejected)
    work = [file for file in places.files() if file.has_work]
    _write_moved(folder, places, work)
    for file in work:
        _rewrite(folder, places, file)
    return _total(work)


def count_moves(
    folder: Folder, schema: DatasetSchema, placements: Placements, rejected: RejectedMode = "keep"
) -> Settled:
    """Changes that ``settle`` would make, without writing anything."""
    return _total(file for file in RowPlaces(folder, schema, placements, rejected).files() if file.has_work)


def was_judged(folder: Folder) -> bool:
    """True if the dataset has rows with outcomes, splits or rejected rows: its files then need ``settle``."""
    if folder.area("rejected").committed()[0]:
        return True
    files = folder.committed()[0]
    return any(file.split != "train" for file in files) or any(
        outcomes_in(read_schema(folder.data / file.name)).names for file in files
    )


def _total(work: Iterable[FilePlaces]) -> Settled:
    files = list(work)
    return Settled(
        moved=sum(file.moved for file in files),
        removed=sum(file.removed for file in files),
        rewritten_bytes=sum(file.file.bytes for file in files),
    )


def _write_moved(folder: Folder, places: RowPlaces, work: Sequence[FilePlaces]) -> None:
    """Write the rows that move into new files at their new places; they stay at the old ones too."""
    with Collectors(folder) as collectors:
        for file in work:
            if not file.moved:
                continue
            for place, table in places.tables(file, moved=True):
                collectors.add(place, table)


def _rewrite(folder: Folder, places: RowPlaces, file: FilePlaces) -> None:
    """Replace a file by one with the rows that stay, or remove it with its last row."""
    area, name = folder.area(file.area), file.file.name
    if not file.staying:
        area.retire(name)
        return
    scratch = folder.scratch(name)
    with TableFile(scratch, places.schema_of(file)) as rewritten:
        for _, table in places.tables(file, moved=False):
            rewritten.add(table)
        whole = rewritten.finish()
    if file_name(file.file.number, whole.sha256, file.file.split) == name:
        scratch.unlink()
    else:
        replace_files(folder, area, [name], scratch, whole)
