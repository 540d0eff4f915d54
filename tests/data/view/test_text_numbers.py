"""Tests of numbers for texts: equal for equal texts, whatever is around them, and for hardly any others."""

from __future__ import annotations

import random

import pyarrow as pa

from imagemill.data.view.text_numbers import id_number, id_numbers, key_number, key_numbers, texts_of


def test_a_row_key_is_its_128_bits_and_anything_else_is_none() -> None:
    keys = ["00112233445566778899aabbccddeeff", "f" * 32, "F" * 32, "xyz", None, "", "g" + "0" * 31]
    numbers = key_numbers(pa.array(keys, pa.large_string()))

    assert [f"{high:016x}{low:016x}" for high, low in numbers[:2].tolist()] == keys[:2]
    assert not numbers[2:].any()
    assert key_number(keys[0]).tolist() == numbers[0].tolist()


def test_equal_ids_have_equal_numbers_in_every_batch() -> None:
    chance = random.Random(1)
    ids = ["".join(chance.choices("aé\0b\U0001f98a", k=chance.randrange(6))) for _ in range(2000)]
    column = pa.array(ids, pa.large_string())
    numbers = id_numbers(column)

    assert numbers.tolist() == [id_number(text) for text in ids]
    assert id_numbers(column.slice(700, 50)).tolist() == numbers[700:750].tolist()
    assert len(set(numbers.tolist())) == len(set(ids))


def test_ids_that_count_up_have_different_numbers() -> None:
    numbers = id_numbers(pa.array([f"{number:x}-{number % 7}" for number in range(200_000)], pa.large_string()))
    assert len(set(numbers.tolist())) == 200_000


def test_a_column_in_chunks_or_as_a_dictionary_is_one_array_of_texts() -> None:
    table = pa.table(
        {"a": pa.chunked_array([["x", None], [], ["yz"]]), "b": pa.array(["x", "x", "y"]).dictionary_encode()}
    )

    assert texts_of(table, "a").to_pylist() == ["x", None, "yz"]
    assert texts_of(table, "b").to_pylist() == ["x", "x", "y"]
    assert texts_of(table, "none").to_pylist() == [None, None, None]
    assert id_numbers(texts_of(table, "none")).tolist() == [0, 0, 0]
