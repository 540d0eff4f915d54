"""The first of near-duplicates stays; the search is exact, whatever it skips."""

from __future__ import annotations

import numpy as np
import pytest

from imagemill.data.scores import duplicates, hash_bands
from imagemill.data.scores.duplicates import find_duplicates, find_similar, vectors_of
from imagemill.data.scores.hash_bands import BandSearch, near_pairs


def oracle(is_near: np.ndarray, inputs: list[str | None] | None) -> list[int]:
    """In order, each row against all rows before it that stay."""
    matches: list[int] = []
    for row in range(len(is_near)):
        earlier = (
            other
            for other in range(row)
            if matches[other] < 0
            and is_near[row, other]
            and (inputs is None or inputs[row] is None or inputs[row] != inputs[other])
        )
        matches.append(next(earlier, -1))
    return matches


def distances(hashes: np.ndarray) -> np.ndarray:
    return np.bitwise_count(hashes[:, None] ^ hashes[None, :])


def random_hashes(random: np.random.Generator, count: int, most: int = 12) -> np.ndarray:
    """Hashes in clusters: copies of a few, with up to ``most`` bits flipped."""
    centres = random.integers(0, 2**64, max(1, count // 4), dtype=np.uint64)
    hashes = centres[random.integers(0, len(centres), count)]
    for _ in range(most):
        bits = np.uint64(1) << random.integers(0, 64, count).astype(np.uint64)
        hashes ^= np.where(random.random(count) < 0.5, bits, np.uint64(0))
    return hashes


def random_inputs(random: np.random.Generator, count: int) -> list[str | None]:
    return [None if number == 0 else f"input-{number}" for number in random.integers(0, 6, count).tolist()]


@pytest.mark.parametrize("by_bands", [False, True])
def test_duplicates_are_those_of_a_comparison_of_each_with_each(
    by_bands: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by_bands:
        use_bands(monkeypatch)
    random = np.random.default_rng(0)
    for distance in (0, 1, 4, 5, 9) if by_bands else range(17):
        for count in (0, 1, 2, 60):
            hashes = random_hashes(random, count, most=int(random.integers(0, 13)))
            for inputs in (None, random_inputs(random, count)):
                expected = oracle(distances(hashes) <= distance, inputs)
                assert find_duplicates(hashes, distance, inputs).tolist() == expected


def use_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Search by bands where there are few hashes too."""
    monkeypatch.setattr(duplicates, "_FEW", 0)
    monkeypatch.setattr(hash_bands, "_BLOCK_COST", 0)
    monkeypatch.setattr(hash_bands, "_SPLITS", (8,))


@pytest.mark.parametrize("distance", range(17))
def test_bands_find_every_pair_however_many_they_are(distance: int) -> None:
    random = np.random.default_rng(distance)
    hashes = random_hashes(random, 60, most=18)
    expected = {(i, j) for i, j in zip(*np.nonzero(np.triu(distances(hashes) <= distance, 1)))}
    for bands in (5, 6, 7, 8):
        found = [pair for part in BandSearch(hashes, distance, bands).pairs() for pair in zip(*part)]
        assert {(min(pair), max(pair)) for pair in found} == expected


def test_more_pairs_than_memory_has_room_for_are_found_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(3)
    hashes = random_hashes(random, 600, most=3)
    expected = find_duplicates(hashes, 4).tolist()
    use_bands(monkeypatch)
    assert near_pairs(hashes, 4, 10**6) is not None
    assert near_pairs(hashes, 4, 10) is None
    monkeypatch.setattr(duplicates, "_MOST_PAIRS", 10)
    assert find_duplicates(hashes, 4).tolist() == expected


def test_bands_give_up_where_all_hashes_are_alike() -> None:
    alike = np.arange(2000, dtype=np.uint64) << np.uint64(50)
    assert near_pairs(alike, 4, most=10**9) is None


def test_rows_added_at_the_end_change_nothing_before_them() -> None:
    random = np.random.default_rng(1)
    hashes, inputs = random_hashes(random, 300), random_inputs(random, 300)
    whole = find_duplicates(hashes, 6, inputs)
    for count in (1, 50, 299):
        assert find_duplicates(hashes[:count], 6, inputs[:count]).tolist() == whole[:count].tolist()


def test_a_duplicate_of_a_duplicate_is_compared_with_the_one_that_stays() -> None:
    # 0 and 1 differ in 3 bits, 1 and 2 in 3 others: 2 is a duplicate of 1 alone, which does not stay.
    assert find_duplicates(np.array([0, 0b111, 0b111111], np.uint64), 3).tolist() == [-1, 0, -1]


def test_edits_of_one_image_are_never_duplicates_of_each_other() -> None:
    hashes = np.zeros(5, np.uint64)
    assert find_duplicates(hashes, 4, ["a", "a", "b", None, "a"]).tolist() == [-1, -1, 0, 0, -1]


def test_many_equal_hashes_match_the_first() -> None:
    matches = find_duplicates(np.zeros(15_000, np.uint64), 4, [f"{number}" for number in range(15_000)])
    assert matches.tolist() == [-1] + [0] * 14_999


def unit_vectors(random: np.random.Generator, count: int, length: int = 16) -> np.ndarray:
    centres = random.normal(size=(max(1, count // 4), length))
    vectors = centres[random.integers(0, len(centres), count)] + 0.25 * random.normal(size=(count, length))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("<f2")


def test_similar_vectors_are_those_of_a_comparison_of_each_with_each() -> None:
    random = np.random.default_rng(2)
    for count in (0, 1, 700):
        vectors = unit_vectors(random, count)
        exact = vectors.astype(np.float64)
        exact /= np.linalg.norm(exact, axis=1, keepdims=True)
        for inputs in (None, random_inputs(random, count)):
            expected = oracle((exact @ exact.T).round(4) >= 0.95, inputs)
            assert find_similar(vectors, 0.95, inputs).tolist() == expected


def test_equal_vectors_are_similar_at_the_highest_cosine() -> None:
    vectors = np.repeat(unit_vectors(np.random.default_rng(4), 1, 512), 3, axis=0)
    assert find_similar(vectors, 1.0).tolist() == [-1, 0, 0]


def test_vectors_are_read_as_the_ledger_stores_them() -> None:
    vectors = unit_vectors(np.random.default_rng(5), 7)
    assert np.array_equal(vectors_of([vector.tobytes() for vector in vectors]), vectors)
    assert vectors_of([]).shape[0] == 0


def test_vectors_of_several_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="equally long"):
        vectors_of([b"\0" * 4, b"\0" * 8])
