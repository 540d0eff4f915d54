"""Writer of formats that pack rows into files, such as tar: a file whose rows are the same is not written again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from imagemill.data.export.entry import Choices, Named, Row
from imagemill.data.export.ledger import Item, Ledger
from imagemill.data.export.loose import Emit, Written
from imagemill.data.export.source import Source

Pack = Callable[[Path, Iterable[tuple[Row, Named]], Choices], None]
"""(file, rows with their names, choices): writes one file, whose name does not end in its suffix."""


def write_packed(
    source: Source, sizes: Sequence[int], part_bytes: int, pack: Pack, suffix: str, ledger: Ledger, emit: Emit | None
) -> Written:
    """Write the packed files that are new or differ. ``sizes``: of the dataset's files, in bytes.

    A packed file is of several consecutive files of the dataset, about ``part_bytes`` in all.
    """
    done = Written()
    rows: dict[int, dict[int, Named]] = {}
    for place, number, _, named in source.light_rows():
        rows.setdefault(place, {})[number] = named
        done.rows += 1
    parts = list(_parts(sizes, part_bytes))
    for count, places in enumerate(parts, 1):
        names = [named.stem for place in places for named in rows.get(place, {}).values()]
        if not names:
            continue
        name = f"train-{len(done.items):05d}{suffix}"
        stamp = json.dumps([[source.digests[place] for place in places], names])
        item = Item(hashlib.sha256(stamp.encode()).hexdigest()[:32], (name,))
        if ledger.items.get(name) != item or not (ledger.target / name).exists():
            ledger.intend({name: item})
            scratch = ledger.scratch("packing")
            pack(scratch, _rows(source, places, rows), source.choices)
            scratch.replace(ledger.target / name)
            ledger.done({name: item})
            done.written += 1
        done.items[name] = item
        if emit:
            emit(count, len(parts))
    return done


def _rows(source: Source, places: Sequence[int], rows: dict[int, dict[int, Named]]) -> Iterator[tuple[Row, Named]]:
    for place in places:
        if place in rows:
            yield from source.rows_in(place, rows[place])


def _parts(sizes: Sequence[int], part_bytes: int) -> Iterator[list[int]]:
    """The places of the dataset's files that make a packed file each."""
    places: list[int] = []
    total = 0
    for place, size in enumerate(sizes):
        if places and total + size > part_bytes:
            yield places
            places, total = [], 0
        places.append(place)
        total += size
    if places:
        yield places
