"""Columns of a dataset in memory: row keys, ids and scores as NumPy arrays a part, and never an image.

1,000,000 rows take 24 MB for keys and ids, and 4 MB for each score. A part's arrays stay while its file is there, so
that a build's new files are all that is read again.
"""

from __future__ import annotations

import hashlib
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

MAX_BYTES = 96 * 2**20
"""Bytes of the arrays of columns that are kept, beside keys and ids: those that were used last."""

READERS = 4
"""Parts that are read at once."""

Array = np.ndarray[Any, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Keys:
    """Who a part's rows are."""

    row: Array
    """uint64, two a row: the row keys."""
    id: Array
    """uint64: a hash of each row's id, alike for the candidates and the turns of a prompt row."""


class Columns:
    """The columns of the parts, read when they are first asked for. Thread-safe."""

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
        """How often a column of texts has each value. Raises Replaced and OutputError."""

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
            rows.append(_key_numbers(table, "row_key"))
            ids.append(_id_numbers(table))
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
            arrays.append(values.cast(pa.float64()).to_numpy().astype(kind, copy=False))
        return np.concatenate(arrays).astype(kind, copy=False) if arrays else np.empty(0, np.float32)

    def _read_counts(self, part: Part, column: str) -> Counter[str]:
        counts: Counter[str] = Counter()
        for table in self._reader.batches(part, [column]):
            if column in table.column_names:
                for found in table.column(column).value_counts().to_pylist():
                    counts[str(found["values"])] += found["counts"]
        return counts


def key_pair(row_key: str) -> tuple[int, int]:
    """A row key as two numbers. Raises ValueError for a text that is no row key."""
    if len(row_key) != 32:
        raise ValueError("a row key has 32 hexadecimal digits")
    return int(row_key[:16], 16), int(row_key[16:], 16)


def id_number(row_id: str) -> int:
    """The number that stands for an id."""
    return int.from_bytes(hashlib.blake2b(row_id.encode(errors="replace"), digest_size=8).digest(), "big")


def _key_numbers(table: pa.Table, column: str) -> Array:
    if column not in table.column_names:
        return np.zeros((table.num_rows, 2), np.uint64)
    # Hexadecimal digits; anything else, in a file of another program, is no row key.
    texts = (text if text is not None and len(text) == 32 else "0" * 32 for text in table.column(column).to_pylist())
    try:
        return np.frombuffer(bytes.fromhex("".join(texts)), ">u8").astype(np.uint64).reshape(-1, 2)
    except ValueError:
        return np.zeros((table.num_rows, 2), np.uint64)


def _id_numbers(table: pa.Table) -> Array:
    if "id" not in table.column_names:
        return np.zeros(table.num_rows, np.uint64)
    ids = table.column("id").to_pylist()
    return np.fromiter((id_number(str(row_id)) for row_id in ids), np.uint64, len(ids))


def each(read: Callable[[Part], T], parts: Sequence[Part]) -> list[T]:
    """The result for each part, a few at once."""
    if len(parts) < 2:
        return [read(part) for part in parts]
    with ThreadPoolExecutor(READERS) as threads:
        return list(threads.map(read, parts))
