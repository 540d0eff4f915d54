"""Columns and conventions of a dataset's first build: pinned in its folder, or for 0.1.0 read from its files."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

import pyarrow as pa

from imagemill.data.dataset.carried.arrow_kinds import ColumnKind, kind_of
from imagemill.data.dataset.carried.begun import Begun
from imagemill.data.dataset.carried.names import carried_name
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.parquet import read_columns, read_schema
from imagemill.data.dataset.schema import OWN_COLUMNS, DatasetSchema
from imagemill.data.errors import OutputError
from imagemill.data.messages import shown_path
from imagemill.data.storage.locations import Location

PIN = "carried"
"""Name of the entry among the folder's pinned decisions."""


def begun_with(folder: Folder) -> Begun | None:
    """Columns and conventions of the first build of the dataset in this folder; None without rows. Raises OutputError.

    For a dataset of version 0.1.0 the columns are still to be found (``old_columns``).
    """
    if not folder.committed()[0]:
        return None
    pinned = folder.pinned().get(PIN)
    if pinned is None:
        return Begun(is_old=True)
    try:
        return Begun.from_json(pinned)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise OutputError(
            f"{shown_path(folder.about)} is damaged (its entry {PIN!r} is not what a build has written). Restore it "
            "from a backup, or delete it: manifest.json has the same entry."
        ) from error


def pin_columns(folder: Folder, schema: DatasetSchema, begun: Begun) -> None:
    """Record the names and types of the carried columns in the folder, which must be locked: they stay as they are."""
    kinds = {name: schema.carried[column] for name, column in schema.names.items()}
    found = Begun({**begun.columns, **schema.names}, {**begun.kinds, **kinds}, schema.other, begun.is_old)
    if folder.pinned().get(PIN) != found.to_json():
        folder.repin(PIN, found.to_json())


def old_columns(
    folder: Folder,
    inferred: Mapping[str, ColumnKind],
    infer_among: Callable[[Collection[str]], Mapping[str, ColumnKind]],
) -> Begun:
    """Columns and conventions that a dataset of version 0.1.0 was begun with, by its files.

    ``inferred``: the kinds that version would give to the rows of now; ``infer_among``: to those with these ids.
    """
    paths = [folder.data / file.name for file in folder.committed()[0]]
    published: dict[str, pa.DataType] = {}
    for path in paths:
        published |= {column.name: column.type for column in read_schema(path)}
    columns = {name: column for name in inferred if (column := carried_name(name, OWN_COLUMNS)) in published}
    kinds = {name: inferred[name] for name in columns}
    doubtful = []
    for name, column in columns.items():
        if published[column] != pa.string():
            kinds[name] = kind_of(published[column])
        elif kinds[name] != "str":
            doubtful.append(name)
    if doubtful:
        # Text, or JSON text: that depends on the values of all rows when these were written.
        among = infer_among(set(_values(paths, "id")))
        for name in doubtful:
            is_json = _are_json(_values(paths, columns[name]), only_texts=among.get(name) == "str")
            kinds[name] = "json" if is_json else "str"
    return Begun(columns, kinds, is_old=True)


def _values(paths: Iterable[Location], column: str) -> Iterator[str]:
    for path in paths:
        for group in read_columns(path, [column]):
            yield from (value for value in group.get(column, ()) if value is not None)


def _are_json(values: Iterable[str], only_texts: bool) -> bool:
    """True if published texts are JSON. ``only_texts``: the rows have texts there, which have quotes in JSON."""
    try:
        return all(isinstance(json.loads(value), str) or not only_texts for value in values)
    except ValueError:
        return False
