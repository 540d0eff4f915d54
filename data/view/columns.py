"""Columns of a dataset in memory: row keys, ids and scores as NumPy arrays a part, and never an image.

1,000,000 rows take 24 MB for keys and ids, and 4 MB for each score. A part's arrays stay while its file is there, so
that a build's new files are all that is read again.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from imagemill.data.view.part_reader import PartReader
from imagemill.data.view.parts import Part
from imagemill.data.view.text_numbers import id_numbers, key_numbers, texts_of

MAX_BYTES = 96 * 2**20
"""Bytes of the arrays of columns that are kept, beside keys and ids: those that were used last."""

READERS = 4
"""Parts that are read at once."""

Array = np.ndarray[Any, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Keys:
    """Identities of a part's rows."""

    row: Array
    """uint64, two a row: the row keys."""
    id: Array
    """uint64: a hash of each row's id (data.view.text_numbers), alike for a prompt row's candidates and turns."""


class Columns:
    """The columns of the parts, read on first use. Thread-safe."""

    def __init__(self, reader: PartReader) -> None:
        self._reader = reader
        self._keys: dict[Part, Keys] = {}
        self._numbers: OrderedDict[tuple[Part, str], Array] = OrderedDict()
        self._counts: dict[tuple[Part, str], Counter[str]] = {}
        self._bytes = 0
        self._lock = Lock()

    def forget(self, present: Sequence[Part]) -> None:
        """Drop what belongs to files that are not there any more."""
        there = set(present)
        with self._lock:
            self._keys = {part: keys for part, keys in self._keys.items() if part in there}
            self._counts = {key: counts for key, counts in self._counts.items() if key[0] in there}
            for key in [key for key in self._numbers if key[0] not in there]:
                self._bytes -= self._numbers.pop(key).nbytes

    @property
    def size(self) -> int:
        """Bytes of all arrays."""
        with self._lock:
            return self._bytes + sum(keys.row.nbytes + keys.id.nbytes for keys in self._keys.values())

    def keys(self, parts: Sequence[Part]) -> list[Keys]:
        """The keys of each part. Raises Replaced and OutputError."""

        def read(part: Part) -> Keys:
            keys = self._keys.get(part)
            if keys is None:
                keys = self._read_keys(part)
                with self._lock:
                    self._keys[part] = keys
            return keys

        return each(read, parts)

    def numbers(self, parts: Sequence[Part], column: str) -> Array:
        """A column of numbers over all parts, one after the other; NaN where there is no value.

        float32 for scores, float64 for any other column. Raises Replaced and OutputError.
        """

        def read(part: Part) -> Array:
            key = (part, column)
            with self._lock:
                if key in self._numbers:
                    self._numbers.move_to_end(key)
                    return self._numbers[key]
            values = self._read_numbers(part, column)
            with self._lock:
                self._bytes += values.nbytes if key not in self._numbers else 0
                self._numbers[key] = values
                while self._bytes > MAX_BYTES and len(self._numbers) > 1:
                    self._bytes -= self._numbers.popitem(last=False)[1].nbytes
            return values

        arrays = each(read, parts)
        return np.concatenate(arrays) if arrays else np.empty(0, np.float32)

    def counts(self, parts: Sequence[Part], column: str) -> Counter[str]:
        """Counts of each value of a column of texts. Raises Replaced and OutputError."""

        def read(part: Part) -> Counter[str]:
            key = (part, column)
            counts = self._counts.get(key)
            if counts is None:
                counts = self._read_counts(part, column)
                with self._lock:
                    self._counts[key] = counts
            return counts

        total: Counter[str] = Counter()
        for counts in each(read, parts):
            total += counts
        return total

    def _read_keys(self, part: Part) -> Keys:
        rows, ids = [np.empty((0, 2), np.uint64)], [np.empty(0, np.uint64)]
        for table in self._reader.batches(part, ["row_key", "id"]):
            rows.append(key_numbers(texts_of(table, "row_key")))
            ids.append(id_numbers(texts_of(table, "id")))
        return Keys(np.concatenate(rows), np.concatenate(ids))

    def _read_numbers(self, part: Part, column: str) -> Array:
        kind: type[np.floating[Any]] = np.float64
        arrays: list[Array] = []
        for table in self._reader.batches(part, [column]):
            if column not in table.column_names:
                arrays.append(np.full(table.num_rows, np.nan, np.float32))
                continue
            values = table.column(column)
            kind = np.float32 if values.type == pa.float32() else np.float64
            arrays.append(_floats(values.cast(pa.float64()).combine_chunks()).astype(kind))
        return np.concatenate(arrays).astype(kind, copy=False) if arrays else np.empty(0, np.float32)

    def _read_counts(self, part: Part, column: str) -> Counter[str]:
        counts: Counter[str] = Counter()
        for table in self._reader.batches(part, [column]):
            if column in table.column_names:
                for found in table.column(column).value_counts().to_pylist():
                    counts[str(found["values"])] += found["counts"]
        return counts


def _floats(values: pa.Array) -> Array:
    """float64 values, NaN for null: not by to_numpy, which imports pandas where it is installed, for a second."""
    valid, content = values.buffers()
    numbers = np.frombuffer(content, np.float64, len(values), 8 * values.offset).copy()
    if valid is not None and values.null_count:
        bits = np.unpackbits(np.frombuffer(valid, np.uint8), bitorder="little")
        numbers[bits[values.offset : values.offset + len(values)] == 0] = np.nan
    return numbers


def each(read: Callable[[Part], T], parts: Sequence[Part]) -> list[T]:
    """The result for each part, a few at once."""
    if len(parts) < 2:
        return [read(part) for part in parts]
    with ThreadPoolExecutor(READERS) as threads:
        return list(threads.map(read, parts))
