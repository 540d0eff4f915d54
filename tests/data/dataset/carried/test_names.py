"""Names of carried columns cannot spoil a dataset: they are printable, and none replaces another column."""

from __future__ import annotations

import pytest

from imagemill.data.dataset.carried.names import MAX_NAME, UNNAMED, carried_name, clean_name, column_names
from imagemill.data.dataset.schema import OWN_COLUMNS


def test_a_carried_column_whose_name_is_taken_gets_source_before_it():
    names = ("note", "image", "seed", "Image")
    assert [carried_name(name, OWN_COLUMNS) for name in names] == ["note", "source_image", "source_seed", "Image"]


def test_no_two_carried_columns_get_one_name():
    names = [prefix + name for name in [*OWN_COLUMNS, "note"] for prefix in ("", "source_", "source_source_")]
    names += ["k", "k_", "k\0", "k\1", "k\n", "", UNNAMED, "x" * MAX_NAME, "x" * MAX_NAME + "y"]
    columns = column_names(names, OWN_COLUMNS, {})
    assert len(set(columns.values())) == len(names)
    assert not OWN_COLUMNS & set(columns.values())


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("k\0", "k_"),
        ("a\nb", "a_b"),
        ("\x1b[2J", "_[2J"),
        ("\u202eabc", "_abc"),
        ("", UNNAMED),
        ("a.b c/日本", "a.b c/日本"),
        ("क्\u200dष", "क्\u200dष"),
        ("x" * 1000, "x" * MAX_NAME),
    ],
    ids=ascii,
)
def test_a_name_is_printable_and_of_bounded_length(name: str, cleaned: str):
    assert clean_name(name) == cleaned


def test_a_name_that_can_stay_keeps_its_name_beside_one_that_is_cleaned():
    assert column_names(["k\0", "k_"], (), {}) == {"k_": "k_", "k\0": "k__2"}


def test_names_of_a_dataset_stay_when_others_are_added():
    begun = column_names(["k\0"], OWN_COLUMNS, {})
    assert column_names(["k\0", "k_"], OWN_COLUMNS, begun) == {"k\0": "k_", "k_": "k__2"}
