"""Read access of the gallery to a dataset, finished or being built: pages of rows, rows, images, scores and runs.

Nothing is written. The files are listed again every few seconds; a file that a build replaces between its listing and
its reading is looked for again under its new name.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from imagemill.data.dataset.files.own_files import read_set_aside
from imagemill.data.dataset.reader import current_recipe, find_dataset, read_runs
from imagemill.data.errors import OutputError
from imagemill.data.storage.locations import size_and_version
from imagemill.data.view.columns import Columns
from imagemill.data.view.histogram import Histogram
from imagemill.data.view.histograms import Histograms
from imagemill.data.view.part_reader import PartReader, Replaced
from imagemill.data.view.parts import AREAS, Listing, list_parts
from imagemill.data.view.query import Query
from imagemill.data.view.records import State, ViewPage, ViewPair, ViewRow
from imagemill.data.view.rows import read_pairs, read_rows
from imagemill.data.view.search import Search, place_of
from imagemill.data.view.text_numbers import id_number, key_number

LOCAL_INTERVAL_S = 2.0
"""Seconds for which a listing of a folder on this machine is used."""

REMOTE_INTERVAL_S = 20.0
"""Seconds for which a listing of a remote dataset is used."""

MAX_REPLACED = 5
"""Listings of one request: a build that merges its files may replace one while it is read."""

MAX_SET_ASIDE = 100_000
"""Rows set aside that are listed."""

T = TypeVar("T")


class Gallery:
    """One dataset. Thread-safe. Raises NotAnImagemillDataset and OutputError when it is made."""

    def __init__(self, output: str | Path) -> None:
        self.output = str(output)
        self._folder = find_dataset(output)
        self._reader = PartReader()
        self._columns = Columns(self._reader)
        self._search = Search(self._reader, self._columns)
        self._histograms = Histograms(self._columns, self._search)
        self._interval = REMOTE_INTERVAL_S if self._folder.is_remote else LOCAL_INTERVAL_S
        self._listing = list_parts(self._folder)
        self._listed = time.monotonic()
        self._manifest = self._folder.read_manifest()
        self._set_aside: tuple[object, list[dict[str, Any]]] | None = None
        self._lock = Lock()

    @property
    def index_bytes(self) -> int:
        """Bytes of the arrays in memory: columns, rows of filters and orders."""
        return self._columns.size + self._search.size

    def listing(self, fresh: bool = False) -> Listing:
        """The files, listed again if that was long ago, or if it must be ``fresh``."""
        with self._lock:
            if fresh or time.monotonic() - self._listed > self._interval:
                before = self._listing
                self._listing = list_parts(self._folder, before)
                self._manifest = self._folder.read_manifest()
                self._listed = time.monotonic()
                if self._listing != before:
                    self._columns.forget(self._listing.parts)
            return self._listing

    def _retried(self, read: Callable[[Listing], T]) -> T:
        """The result of ``read`` over the files as they are. Raises OutputError if a file is missing for good."""
        missing = ""
        for attempt in range(MAX_REPLACED):
            try:
                return read(self.listing(fresh=attempt > 0))
            except Replaced as error:
                missing = str(error)
        raise OutputError(f"{missing} was there and is missing now; `imagemill verify` lists all faults.")

    def state(self) -> State:
        """The dataset as it is now. Raises OutputError."""
        listing = self.listing()
        with self._lock:
            manifest = self._manifest
        version = hashlib.sha256()
        for part in (*listing.parts, *listing.pairs):
            version.update(f"{part.area}/{part.name}/{part.version}\n".encode())
        recipe = current_recipe(manifest["recipe"]) if manifest else {}
        name = manifest["name"] if manifest else self._folder.root.name
        return State(
            name=name,
            output=self.output,
            version=version.hexdigest()[:16],
            rows=listing.rows,
            is_finished=manifest is not None,
            fingerprint=manifest["fingerprint"] if manifest else None,
            damaged=listing.damaged,
            scorers=recipe.get("scorers") or {},
            recipe=recipe,
        )

    def page(self, query: Query, first: int, count: int) -> ViewPage:
        """``count`` rows of a query from position ``first`` on. Raises RecipeError and OutputError."""
        return self._retried(partial(self._page, query, first, count))

    def _page(self, query: Query, first: int, count: int, listing: Listing) -> ViewPage:
        parts = listing.of(query.areas)
        found = self._search.positions(listing, query)
        total = sum(part.rows for part in parts) if found is None else len(found)
        here = range(max(0, first), min(first + count, total))
        numbers = list(here) if found is None else [int(found[position]) for position in here]
        places = [place_of(parts, number) for number in numbers]
        return ViewPage(read_rows(self._reader, places, here, cards=True), max(0, first), total)

    def row(self, key: str, area: str = "", name: str = "", number: int = -1) -> ViewRow | None:
        """The row with this key, with all its columns; None if there is none. Raises OutputError.

        ``area``, ``name`` and ``number``: the file and the row where it was; where it still is, nothing else is read.
        """
        return self._retried(partial(self._row, key, area, name, number))

    def _row(self, key: str, area: str, name: str, number: int, listing: Listing) -> ViewRow | None:
        number_of_key = key_number(key)
        if not number_of_key.any():
            return None
        hinted = [part for part in listing.parts if (part.area, part.name) == (area, name) and 0 <= number < part.rows]
        for part in hinted:
            (row,) = read_rows(self._reader, [(part, number)], None, cards=False)
            if row.key == key:
                return row
        for part, keys in zip(listing.parts, self._columns.keys(listing.parts), strict=True):
            (rows,) = (keys.row == number_of_key).all(axis=1).nonzero()
            if len(rows):
                (row,) = read_rows(self._reader, [(part, int(rows[0]))], None, cards=False)
                return row
        return None

    def related(self, row_id: str, most: int) -> list[ViewRow]:
        """The rows with this id, at most ``most``: a prompt row's candidates, and the turns of its conversations."""
        return self._retried(partial(self._related, row_id, most))

    def _related(self, row_id: str, most: int, listing: Listing) -> list[ViewRow]:
        number, places = id_number(row_id), []
        for part, keys in zip(listing.parts, self._columns.keys(listing.parts), strict=True):
            places += [(part, int(row)) for row in (keys.id == number).nonzero()[0]]
        rows = read_rows(self._reader, places[:most], None, cards=True)
        # Of two texts with one number, only the id itself counts.
        return sorted((row for row in rows if row.values.get("id") == row_id), key=_candidate_order)

    def image(self, area: str, name: str, row: int, column: str, place: int | None, key: str = "") -> bytes | None:
        """An image's bytes; None if there is none. ``key``: its row's, by which it is found where a build has moved it.

        Raises OutputError.
        """
        return self._retried(partial(self._image, area, name, row, column, place, key))

    def _image(
        self, area: str, name: str, row: int, column: str, place: int | None, key: str, listing: Listing
    ) -> bytes | None:
        parts = (*listing.parts, *listing.pairs)
        part = next((part for part in parts if (part.area, part.name) == (area, name)), None)
        try:
            if part is not None:
                return self._reader.image(part, row, column, place)
            moved = self._row(key, "", "", -1, listing)
            return self._reader.image(moved.part, moved.row, column, place) if moved else None
        except IndexError:
            return None

    def pairs(self, first: int, count: int) -> tuple[list[ViewPair], int]:
        """``count`` preference pairs from the ``first`` on, and how many there are. Raises OutputError."""

        def read(listing: Listing) -> tuple[list[ViewPair], int]:
            total = sum(part.rows for part in listing.pairs)
            places = [place_of(listing.pairs, number) for number in range(first, min(first + count, total))]
            return read_pairs(self._reader, places), total

        return self._retried(read)

    def number_columns(self) -> list[str]:
        """Columns of numbers by which rows can be sorted, scores first. Raises OutputError."""
        return self._retried(lambda listing: self._search.number_columns(listing.parts) if listing.parts else [])

    def columns(self) -> list[tuple[str, str]]:
        """Name and type of each column that a filter can name. Raises OutputError."""

        def read(listing: Listing) -> list[tuple[str, str]]:
            schema = self._search.schema(listing.parts) if listing.parts else []
            return [(field.name, str(field.type)) for field in schema]

        return self._retried(read)

    def reasons(self) -> dict[str, int]:
        """Reason of a rejection -> number of candidates, most frequent first. Raises OutputError."""
        found = self._retried(lambda listing: self._columns.counts(listing.of(("rejected",)), "rejected_by"))
        return dict(found.most_common())

    def histogram(self, column: str, query: Query) -> Histogram | None:
        """The histogram of a column over the rows of a query; None if none has a value.

        Raises RecipeError and OutputError.
        """
        return self._retried(lambda listing: self._histograms.get(listing, column, query))

    def border(self, query: Query, column: str, value: str, count: int) -> tuple[list[ViewRow], list[ViewRow]]:
        """``count`` rows of a query just below a threshold, and as many from it on, both with the nearest first.

        Raises RecipeError for a threshold that is no number, and OutputError.
        """

        def read(listing: Listing) -> tuple[list[ViewRow], list[ViewRow]]:
            sides = []
            for sign, order in (("<", "desc"), (">=", "asc")):
                quoted = column.replace('"', '""')
                limit = f'"{quoted}" {sign} {value}'
                where = f"({query.where}) and {limit}" if query.where.strip() else limit
                nearest = Query(query.show, query.words, where, column, order)
                sides.append(list(self._page(nearest, 0, count, listing).rows))
            return sides[0], sides[1]

        return self._retried(read)

    def runs(self) -> list[dict[str, Any]]:
        """The runs that built the dataset, newest first. Raises OutputError."""
        return read_runs(self._folder)[::-1]

    def set_aside(self) -> list[dict[str, Any]]:
        """Rows that a build set aside, with the reasons; those of a running build too. Raises OutputError."""
        paths = [path for path in dict.fromkeys((self._folder.set_aside, self._folder.failures)) if path.exists()]
        version = [(path, *size_and_version(path)) for path in paths]
        with self._lock:
            if self._set_aside is not None and self._set_aside[0] == version:
                return self._set_aside[1]
        found = list(islice((line for path in paths for line in read_set_aside(path)), MAX_SET_ASIDE))
        with self._lock:
            self._set_aside = (version, found)
        return found


def _candidate_order(row: ViewRow) -> tuple[int, int, int, int]:
    values = row.values
    numbers = [values.get(name) for name in ("variant", "candidate", "turn_index")]
    variant, candidate, turn = (number if isinstance(number, int) else 0 for number in numbers)
    return variant, turn, AREAS.index(row.part.area) if row.part.area in AREAS else 0, candidate
