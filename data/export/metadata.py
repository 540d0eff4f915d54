"""Metadata of a row in an export: its columns as JSON, beside the names that the format gives to the row's images."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from imagemill.data.plain_values import plain
from imagemill.data.storage.locations import Location, arrow_source

# `datasets` opens the file that such a field of metadata.jsonl names, also inside an object.
_NAMES_FILE = re.compile(r"(^|_)file_(names?)$")


def json_columns(row: Mapping[str, Any], without: Collection[str]) -> dict[str, Any]:
    """The row's columns as JSON values: times are text, bytes base64, and a float that JSON does not have is null."""
    return {name: plain(value, lambda number: None) for name, value in row.items() if name not in without}


def beside_file_names(columns: Mapping[str, Any], file_names: Mapping[str, Any]) -> dict[str, Any]:
    """A line of metadata.jsonl: the fields that name the row's images, and its columns under names that name no file.

    A column ``file_name`` becomes ``source_filename``.
    """
    line = dict(file_names)
    for name, value in columns.items():
        renamed = new = _renamed(name)
        number = 1
        while new in line or (new != name and new in columns):
            number += 1
            new = f"{renamed}_{number}"
        line[new] = _inside(value)
    return line


def _renamed(name: str) -> str:
    renamed = _NAMES_FILE.sub(r"\1file\2", name)
    return name if renamed == name else f"source_{renamed}"


def _inside(value: Any) -> Any:
    if isinstance(value, dict):
        return {_renamed(name): _inside(inner) for name, inner in value.items()}
    return [_inside(inner) for inner in value] if isinstance(value, list) else value


def large_integers(paths: Iterable[Location]) -> set[str]:
    """Columns of these files with an integer of 2^63 or more, which readers of JSON refuse or round."""
    found: set[str] = set()
    for path in paths:
        # What is wrong with a file is said when its rows are read.
        with suppress(pa.ArrowException, OSError), pq.ParquetFile(arrow_source(path)) as file:
            columns = {field.name for field in file.schema_arrow if field.type == pa.uint64()}
            for group in range(file.num_row_groups if columns - found else 0):
                row_group = file.metadata.row_group(group)
                chunks = [row_group.column(number) for number in range(row_group.num_columns)]
                found.update(chunk.path_in_schema for chunk in chunks if _is_large(chunk, columns))
    return found


def _is_large(chunk: pq.ColumnChunkMetaData, columns: Collection[str]) -> bool:
    if chunk.path_in_schema not in columns:
        return False
    # Without statistics nothing is known.
    known = chunk.statistics is not None and chunk.statistics.has_min_max
    return not known or chunk.statistics.max >= 2**63
