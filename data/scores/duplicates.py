"""Search for near-duplicates among a dataset's rows, by perceptual hashes or by vectors: the first of them stays.

Rows are given in the order of the prompts file, so that a dataset that grows at its end decides as one that is built at
once: what is added never changes what is decided of the rows before it. Rows that share their input image are never
duplicates of each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from imagemill.data.scores.first_match import group_numbers, match_blocks, match_pairs
from imagemill.data.scores.hash_bands import near_pairs
from imagemill.data.scores.records import DECIMALS

_FEW = 20_000
"""Up to this number, hashes are compared each with each."""
_MOST_PAIRS = 10_000_000
"""Pairs that are held in memory, 16 bytes each."""
_BLUR = 1e-3
"""Largest error of a cosine in float32; closer ones are computed again in float64."""


def find_duplicates(hashes: np.ndarray, distance: int, inputs: Sequence[str | None] | None = None) -> np.ndarray:
    """For each row the number of the row that it is a duplicate of, or -1 if it stays.

    ``hashes``: perceptual hashes, uint64, in the order of the rows. ``distance``: most bits in which duplicates differ.
    ``inputs``: what identifies each row's input image, None for a row without one. Exact for every distance.
    """
    hashes = np.asarray(hashes, np.uint64)
    groups = group_numbers(inputs, len(hashes))
    rows, first = _unlike(hashes, groups)
    matches = _find(hashes[rows], groups[rows], distance)
    # Of equal hashes of one input all have the same match; without an input the first is the others' match.
    result = np.where(matches >= 0, rows[matches], -1)[first]
    is_match_itself = (result < 0) & (groups < 0) & (rows[first] != np.arange(len(hashes)))
    return np.where(is_match_itself, rows[first], result)


def _unlike(hashes: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first row of each hash and group, ascending, and for each row which of them has its hash and group."""
    keys = np.empty(len(hashes), [("hash", np.uint64), ("group", np.int64)])
    keys["hash"], keys["group"] = hashes, np.maximum(groups, -1)
    order = np.lexsort((keys["group"], keys["hash"]))
    is_new = np.ones(len(order), bool)
    is_new[1:] = keys[order][1:] != keys[order][:-1]
    # The sort is stable, so that the first of equal ones has the lowest number.
    rows = order[is_new]
    of_row = np.empty(len(order), np.int64)
    of_row[order] = np.cumsum(is_new) - 1
    ascending = np.argsort(rows)
    place = np.empty(len(rows), np.int64)
    place[ascending] = np.arange(len(rows))
    return rows[ascending], place[of_row]


def _find(hashes: np.ndarray, groups: np.ndarray, distance: int) -> np.ndarray:
    count = len(hashes)
    if distance == 0 and (groups < 0).all():
        return np.full(count, -1, np.int64)
    pairs = near_pairs(hashes, distance, _MOST_PAIRS) if count > _FEW else None
    if pairs is None:
        return match_blocks(hashes, groups, lambda a, b: np.bitwise_count(a[:, None] ^ b[None, :]) <= distance)
    first, second = pairs
    differ = groups[first] != groups[second]
    return match_pairs(count, first[differ], second[differ])


def vectors_of(stored: Sequence[bytes]) -> np.ndarray:
    """Vectors as the ledger stores them, one a row, in float32. Raises ValueError if their lengths differ."""
    if len({len(vector) for vector in stored}) > 1:
        raise ValueError("the vectors of one scorer are equally long")
    numbers = np.frombuffer(b"".join(stored), "<f2").astype(np.float32)
    return numbers.reshape(len(stored), len(numbers) // max(len(stored), 1))


def find_similar(vectors: np.ndarray, cosine: float, inputs: Sequence[str | None] | None = None) -> np.ndarray:
    """As ``find_duplicates``: duplicates are rows whose vectors have at least this cosine, rounded to 4 decimals.

    ``vectors``: rows x length, any float. Time grows with the square of the number of rows: 20,000 vectors of 512
    numbers take some seconds, 200,000 some minutes. Memory: 8 bytes a number.
    """
    unit = vectors.astype(np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", unit, unit, dtype=np.float64))
    unit /= np.maximum(lengths, 1e-12)[:, None].astype(np.float32)

    def is_near(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        cosines = a @ b.T
        near = cosines >= cosine - _BLUR
        if not near.any():
            return near
        # A product of matrices is rounded by the size of its blocks; a row's fate must not depend on that.
        left, right = np.nonzero(near & (cosines < cosine + _BLUR))
        for start in range(0, len(left), 4096):
            rows, columns = left[start : start + 4096], right[start : start + 4096]
            exact = (a[rows].astype(np.float64) * b[columns]).sum(axis=1)
            near[rows, columns] = exact.round(DECIMALS) >= cosine
        return near

    return match_blocks(unit, group_numbers(inputs, len(unit)), is_near)
