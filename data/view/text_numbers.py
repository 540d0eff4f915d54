"""Numbers that stand for texts: row keys as they are, and hashes of ids, computed a column at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

Array = np.ndarray[Any, Any]

KEY_DIGITS = 32

_PRIME = 0x9E3779B97F4A7C15
"""An odd number of 64 bits."""

_DIGITS = np.full(256, 255, np.uint8)
_DIGITS[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16, dtype=np.uint8)

_PLACES = 16 ** np.arange(15, -1, -1, dtype=np.uint64)


def texts_of(table: pa.Table, column: str) -> pa.Array:
    """A column of texts as one array, null where the table lacks it."""
    if column not in table.column_names:
        return pa.nulls(table.num_rows, pa.large_string())
    texts = table.column(column).cast(pa.large_string()).combine_chunks()
    return texts if isinstance(texts, pa.Array) else pa.concat_arrays(texts.chunks)


def key_numbers(texts: pa.Array) -> Array:
    """Row keys as two uint64 each; zeros for a text that is none, as in a file of another program."""
    return _key_numbers(*_bytes_of(texts))


def _key_numbers(content: Array, starts: Array, lengths: Array) -> Array:
    numbers = np.zeros((len(starts), 2), np.uint64)
    keys = np.flatnonzero(lengths == KEY_DIGITS)
    digits = _DIGITS[content[starts[keys, None] + np.arange(KEY_DIGITS)]]
    keys, digits = keys[digits.max(axis=1, initial=0) < 16], digits[digits.max(axis=1, initial=0) < 16]
    numbers[keys] = (digits.reshape(-1, 2, 16) * _PLACES).sum(axis=2, dtype=np.uint64)
    return numbers


def key_number(row_key: str) -> Array:
    """The same of one row key: zeros if it is none."""
    numbers: Array = _key_numbers(*_one(row_key))[0]
    return numbers


def id_numbers(texts: pa.Array) -> Array:
    """A hash of each text, uint64: a polynomial of its bytes. Equal texts have equal numbers, others hardly ever."""
    return _id_numbers(*_bytes_of(texts))


def _id_numbers(content: Array, starts: Array, lengths: Array) -> Array:
    if not content.size:
        return lengths.astype(np.uint64)
    places = np.arange(content.size) - np.repeat(starts, lengths)
    powers = np.cumprod(np.full(int(lengths.max()), _PRIME, np.uint64), dtype=np.uint64)
    # Sums wrap around at 64 bits, and so do their differences.
    sums = np.concatenate(
        [np.zeros(1, np.uint64), np.cumsum((content + np.uint64(1)) * powers[places], dtype=np.uint64)]
    )
    return sums[starts + lengths] - sums[starts]


def id_number(row_id: str) -> int:
    """The same of one id."""
    return int(_id_numbers(*_one(row_id))[0])


def _one(text: str) -> tuple[Array, Array, Array]:
    # Not by pa.array, which imports pandas where it is installed, which takes a second.
    content = np.frombuffer(text.encode(errors="replace"), np.uint8)
    return content, np.zeros(1, np.int64), np.full(1, content.size, np.int64)


def _bytes_of(texts: pa.Array) -> tuple[Array, Array, Array]:
    """The bytes of all texts, and where each begins and how long it is; 0 bytes for null."""
    _, offsets, content = texts.buffers()
    if offsets is None or not len(texts):
        return np.empty(0, np.uint8), np.zeros(len(texts), np.int64), np.zeros(len(texts), np.int64)
    bounds = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    first, last = int(bounds[0]), int(bounds[-1])
    whole = np.frombuffer(content, np.uint8)[first:last] if content is not None else np.empty(0, np.uint8)
    return whole, bounds[:-1] - first, np.diff(bounds)
