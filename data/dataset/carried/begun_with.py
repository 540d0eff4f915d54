"""What a dataset was begun with: pinned in its folder, or for version 0.1.0 to be found in its files."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import pyarrow as pa

from imagemill.data.dataset.carried.arrow_kinds import ColumnKind, kind_of, storable_type, type_of
from imagemill.data.dataset.carried.begun import Begun
from imagemill.data.dataset.carried.names import carried_name
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.parquet import read_columns, read_schema
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.errors import OutputError
from imagemill.data.messages import shown_path

PIN = "carried"
"""Name of the entry among the folder's pinned decisions."""


def begun_with(folder: Folder) -> Begun | None:
    """What the dataset in this folder was begun with; None if it has no rows. Raises OutputError.

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
    folder: Folder, inferred: Mapping[str, ColumnKind], texts: Collection[str], own: Collection[str]
) -> Begun:
    """What a dataset of version 0.1.0 was begun with, by its files.

    ``inferred``: the kinds that version would give to the rows of now; ``texts``: columns of which a value is a text.
    """
    paths = [folder.data / file.name for file in folder.committed()[0]]
    published: dict[str, pa.DataType] = {}
    for path in paths:
        published |= {column.name: column.type for column in read_schema(path)}
    columns, kinds = {}, {}
    for name, kind in inferred.items():
        column = carried_name(name, own)
        arrow = published.get(column)
        if arrow is None or (arrow := storable_type(arrow)) is None:
            continue
        columns[name], kinds[name] = column, kind
        if arrow != type_of(kind):
            kinds[name] = kind_of(arrow)
        if arrow == pa.string() and kind != "str":
            values = (
                value for path in paths for group in read_columns(path, [column]) for value in group.get(column, ())
            )
            kinds[name] = "json" if _are_json(values, name in texts) else "str"
    return Begun(columns, kinds, is_old=True)


def _are_json(values: Iterable[Any], has_texts: bool) -> bool:
    """Whether published texts are JSON, in which a text has quotes."""
    quoted = False
    for value in values:
        if value is None:
            continue
        try:
            json.loads(value)
        except ValueError:
            return False
        quoted = quoted or value.startswith('"')
    return quoted or not has_texts
