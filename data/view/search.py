"""Search of a dataset's rows: those that meet a query, as numbers over its parts, in the query's order."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa

from imagemill.data.dataset.where import Where, parse_where
from imagemill.data.errors import RecipeError
from imagemill.data.messages import shown
from imagemill.data.view.columns import Array, Columns, each
from imagemill.data.view.part_reader import PartReader, is_image
from imagemill.data.view.parts import Listing, Part
from imagemill.data.view.query import Query

MAX_FILTERS = 4
"""Filters whose rows are remembered: 4 MB each for 1,000,000 rows that meet it."""

MAX_ORDERS = 4
"""Queries whose order is remembered."""

SCORES = ("score_", "input_score_")
"""Beginnings of the names of scores' columns."""


class Search:
    """Finds rows. Thread-safe."""

    def __init__(self, reader: PartReader, columns: Columns) -> None:
        self._reader = reader
        self._columns = columns
        self._matches: OrderedDict[str, dict[Part, Array]] = OrderedDict()
        self._orders: OrderedDict[tuple[Listing, Query], Array] = OrderedDict()
        self._schemas: dict[tuple[Part, ...], pa.Schema] = {}
        self._lock = Lock()

    @property
    def size(self) -> int:
        """Bytes of the rows that are remembered."""
        with self._lock:
            matches = [rows.nbytes for of_filter in self._matches.values() for rows in of_filter.values()]
            return sum(matches) + sum(order.nbytes for order in self._orders.values())

    def schema(self, parts: Sequence[Part]) -> pa.Schema:
        """The columns of these parts, without images. Raises Replaced and OutputError."""
        # A build that adds a column has rewritten every file by its end; until then the newest have it.
        ends = {area: [part for part in parts if part.area == area] for area in dict.fromkeys(p.area for p in parts)}
        looked = tuple(part for of_area in ends.values() for part in dict.fromkeys((of_area[0], of_area[-1])))
        if looked not in self._schemas:
            fields: dict[str, pa.Field] = {}
            for part in looked:
                for field in self._reader.schema(part):
                    if not is_image(field):
                        fields.setdefault(field.name, field)
            self._schemas = {looked: pa.schema(list(fields.values()))}
        return self._schemas[looked]

    def number_columns(self, parts: Sequence[Part]) -> list[str]:
        """Columns of numbers, scores first. Raises Replaced and OutputError."""
        found = [field.name for field in self.schema(parts) if _is_number(field.type)]
        return sorted(found, key=lambda name: (not name.startswith(SCORES), name.startswith("input_score_")))

    def positions(self, listing: Listing, query: Query) -> Array | None:
        """The rows that meet the query, as numbers over the parts of its areas; None for all of them in their order.

        Raises RecipeError for a bad filter or an unknown column, Replaced and OutputError.
        """
        if query.is_plain:
            return None
        with self._lock:
            if (listing, query) in self._orders:
                self._orders.move_to_end((listing, query))
                return self._orders[listing, query]
        parts = listing.of(query.areas)
        found = self._sorted(parts, query, self._matching(parts, query)) if parts else np.empty(0, np.uint32)
        with self._lock:
            self._orders[listing, query] = found
            while len(self._orders) > MAX_ORDERS:
                self._orders.popitem(last=False)
        return found

    def _matching(self, parts: Sequence[Part], query: Query) -> Array:
        schema = self.schema(parts)
        text = query.filter(schema.names)
        if not text:
            return np.arange(sum(part.rows for part in parts), dtype=np.uint32)
        where = parse_where(text, schema, score_names(schema.names))
        with self._lock:
            known = dict(self._matches.get(text, {}))
        matches = each(lambda part: known[part] if part in known else self._rows_of(part, where), parts)
        with self._lock:
            self._matches[text] = dict(zip(parts, matches, strict=True))
            self._matches.move_to_end(text)
            while len(self._matches) > MAX_FILTERS:
                self._matches.popitem(last=False)
        firsts = np.cumsum([0, *(part.rows for part in parts)])[:-1]
        found = [rows + np.uint32(first) for rows, first in zip(matches, firsts, strict=True)]
        return np.concatenate(found) if found else np.empty(0, np.uint32)

    def _rows_of(self, part: Part, where: Where) -> Array:
        found, first = [np.empty(0, np.uint32)], 0
        for table in self._reader.batches(part, sorted(where.columns)):
            found.append((where.matching(table) + first).astype(np.uint32))
            first += table.num_rows
        return np.concatenate(found)

    def _sorted(self, parts: Sequence[Part], query: Query, found: Array) -> Array:
        if not query.sort:
            return found
        names = self.number_columns(parts)
        column = score_names(names).get(query.sort, query.sort)
        if column not in names:
            raise RecipeError(f"cannot sort by {shown(query.sort)}; there is {', '.join(names[:8])}.")
        values = self._columns.numbers(parts, column)[found]
        # Stable, and rows without a value last either way.
        return found[np.argsort(-values if query.order == "desc" else values, kind="stable")]


def score_names(columns: Sequence[str]) -> dict[str, str]:
    """Scorer's name -> its column, so that a filter may name either."""
    return {name.removeprefix("score_"): name for name in columns if name.startswith("score_")}


def place_of(parts: Sequence[Part], position: int) -> tuple[Part, int]:
    """The part of a row and the row's number there, from its number over the parts. Raises IndexError."""
    for part in parts:
        if position < part.rows:
            return part, position
        position -= part.rows
    raise IndexError("there are fewer rows")


def _is_number(kind: Any) -> bool:
    types = pa.types
    return types.is_integer(kind) or types.is_floating(kind)
