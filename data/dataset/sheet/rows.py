"""Choice of the contact sheet's rows: a spread over the dataset, conversations and sweeps in one piece.

Of a large dataset the first rows of row groups all over it are candidates, so that little of its images is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from imagemill.data.config.columns import GUIDES
from imagemill.data.storage.locations import Location, arrow_source

ROWS = 24
"""Rows on the sheet."""

MAX_READ = 4
"""Row groups, of about 100 MB, that are candidates as a whole; of more, their first rows are."""

FIRST_ROWS = 64
"""Rows of a row group that are candidates, where there are more row groups."""

MIN_TOGETHER = 4
"""Rows of a conversation or of a prompt's sweep that are shown even if there are many of these."""

_WORDS = ("prompt", "edit_prompt", "input_sha256")
"""Columns that are equal in the rows of a sweep."""

_FACTS = (
    *("variant", "turn_index", "seed", "edit_seed", "model", "edit_model", "steps", "edit_steps"),
    *("guidance_scale", "edit_guidance_scale", "width", "height"),
)

_BUFFER_BYTES = 2**20


class Place(NamedTuple):
    """Place of a row."""

    path: Location
    row_group: int
    row: int
    """In its row group."""


Group = list[tuple[Place, dict[str, Any]]]
"""Rows that belong together: the turns of a conversation, or the settings of one prompt. With columns but no images."""


def choose_rows(paths: Sequence[Location], more: Sequence[str] = ()) -> list[Group]:
    """At most ROWS rows from all over these files, in groups. ``more``: further columns to read."""
    groups = list(_groups(_candidates(paths, more)))
    if not groups:
        return []
    together = max(MIN_TOGETHER, ROWS // len(groups))
    shortened = [_spread(group, together, has_order="turn_index" in group[0][1]) for group in groups]
    chosen: list[Group] = []
    for count in range(min(ROWS, len(groups)), 0, -1):
        chosen = _spread(shortened, count)
        if sum(map(len, chosen)) <= ROWS:
            break
    return chosen


def read_images(places: Iterable[Place]) -> Iterator[dict[str, bytes | None]]:
    """The images of these rows, by column; control images too. A row group is read as far as its last row."""
    for (path, number), in_group in _by_row_group(places):
        with pq.ParquetFile(arrow_source(path), buffer_size=_BUFFER_BYTES) as file:
            names = file.schema_arrow.names
            columns = [name for name in (*GUIDES, "image", "input_image", "edited_image") if name in names]
            rows, first = [place.row for place in in_group], 0
            for batch in file.iter_batches(batch_size=8, row_groups=[number], columns=columns):
                for row in (row for row in rows if first <= row < first + batch.num_rows):
                    fields = batch.slice(row - first, 1).to_pylist()[0]
                    yield {name: (fields[name] or {}).get("bytes") for name in columns}
                first += batch.num_rows
                if first > rows[-1]:
                    break


def _by_row_group(places: Iterable[Place]) -> Iterator[tuple[tuple[Location, int], list[Place]]]:
    """The places, which are in the order of the files, with those of one row group together."""
    last: tuple[Location, int] | None = None
    together: list[Place] = []
    for place in places:
        if (place.path, place.row_group) != last and last is not None:
            yield last, together
            together = []
        last = place.path, place.row_group
        together.append(place)
    if last is not None:
        yield last, together


def _candidates(paths: Sequence[Location], more: Sequence[str]) -> Iterator[tuple[Place, dict[str, Any]]]:
    numbers = [(path, number) for path in paths for number in range(_count_row_groups(path))]
    limit = None if len(numbers) <= MAX_READ else FIRST_ROWS
    for path, number in _spread(numbers, ROWS):
        with pq.ParquetFile(arrow_source(path)) as file:
            columns = [name for name in (*_WORDS, *_FACTS, *more) if name in file.schema_arrow.names]
            table = file.read_row_group(number, columns=columns)
            for row, fields in enumerate((table if limit is None else table.slice(0, limit)).to_pylist()):
                yield Place(path, number, row), fields


def _count_row_groups(path: Location) -> int:
    count: int = pq.read_metadata(arrow_source(path)).num_row_groups
    return count


def _groups(rows: Iterable[tuple[Place, dict[str, Any]]]) -> Iterator[Group]:
    group: Group = []
    for place, fields in rows:
        if group and not _continues(group[-1], place, fields):
            yield group
            group = []
        # Of a prompt's variants one is enough, and a conversation is shown from its start.
        if group and "turn_index" not in fields and fields.get("variant"):
            continue
        if group or (fields.get("turn_index") or 1) == 1:
            group.append((place, fields))
    if group:
        yield group


def _continues(last: tuple[Place, Mapping[str, Any]], place: Place, fields: Mapping[str, Any]) -> bool:
    if last[0][:2] != place[:2]:
        return False
    if "turn_index" in fields:
        return (fields["turn_index"] or 1) > 1
    return all(last[1].get(name) == fields.get(name) for name in _WORDS)


def _spread(items: Sequence[Any], count: int, has_order: bool = False) -> list[Any]:
    """``count`` of the items, evenly spread from the first to the last; ``has_order``: the first ones."""
    if len(items) <= count or has_order:
        return list(items[:count])
    if count == 1:
        return [items[0]]
    return [items[number * (len(items) - 1) // (count - 1)] for number in range(count)]
