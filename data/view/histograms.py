"""Histograms of a dataset's columns over queries, each made once while the files are the same."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from threading import Lock

import numpy as np

from imagemill.data.view.columns import Array, Columns
from imagemill.data.view.histogram import Groups, Histogram, make_histogram
from imagemill.data.view.parts import Listing
from imagemill.data.view.query import Query
from imagemill.data.view.search import Search, score_names

MAX_HISTOGRAMS = 64
"""Histograms that are remembered: a few kilobytes each."""


class Histograms:
    """Makes histograms. Thread-safe."""

    def __init__(self, columns: Columns, search: Search) -> None:
        self._columns = columns
        self._search = search
        self._made: OrderedDict[tuple[Listing, Query, str], Histogram | None] = OrderedDict()
        self._grouped: tuple[tuple[Listing, Query], Groups] | None = None
        self._lock = Lock()

    def get(self, listing: Listing, column: str, query: Query) -> Histogram | None:
        """The histogram of a column, or a scorer, over the query's rows; None if none has a value.

        Raises RecipeError, Replaced and OutputError.
        """
        parts = listing.of(query.areas)
        names = self._search.number_columns(parts) if parts else []
        name = score_names(names).get(column, column)
        if name not in names:
            return None
        query = replace(query, sort="", order="desc")
        key = (listing, query, name)
        with self._lock:
            if key in self._made:
                self._made.move_to_end(key)
                return self._made[key]
        found = self._search.positions(listing, query)
        values = self._columns.numbers(parts, name)
        made = make_histogram(name, values if found is None else values[found], self._groups(listing, query, found))
        with self._lock:
            self._made[key] = made
            while len(self._made) > MAX_HISTOGRAMS:
                self._made.popitem(last=False)
        return made

    def _groups(self, listing: Listing, query: Query, found: Array | None) -> Groups:
        """A query's images grouped by prompt row; cached for the query's other histograms."""
        with self._lock:
            if self._grouped is not None and self._grouped[0] == (listing, query):
                return self._grouped[1]
        ids = np.concatenate([keys.id for keys in self._columns.keys(listing.of(query.areas))])
        groups = Groups.of(ids if found is None else ids[found])
        with self._lock:
            self._grouped = ((listing, query), groups)
        return groups
