"""A hash decides a row's split: variants never part, growth moves nothing, the shares are those of the recipe."""

from __future__ import annotations

from collections import Counter

from imagemill.data.config.judging.splits import Splits
from imagemill.data.scores.splits import group_of, group_of_prompt, split_of

GROUPS = [f"text prompt {number}" for number in range(20_000)]


def splits(seed: int = 0, **fractions: float) -> Splits:
    return Splits.model_validate({"seed": seed, **fractions})


def test_the_splits_have_the_shares_of_the_recipe() -> None:
    counts = Counter(split_of(splits(validation=0.1, test=0.2, later=0.05), group) for group in GROUPS)
    for name, share in {"validation": 0.1, "test": 0.2, "later": 0.05, "train": 0.65}.items():
        assert abs(counts[name] / len(GROUPS) - share) < 0.012


def test_a_group_is_always_in_the_same_split() -> None:
    # These stay for ever: another answer would move rows of datasets that exist.
    found = [split_of(splits(validation=0.3, test=0.3), group) for group in GROUPS[:12]]
    assert found == [split_of(splits(test=0.3, validation=0.3), group) for group in GROUPS[:12]]
    expected = "train train train test test test train test validation test validation train"
    assert found == expected.split()


def test_another_seed_gives_other_splits() -> None:
    both = [(split_of(splits(0, test=0.5), group), split_of(splits(1, test=0.5), group)) for group in GROUPS[:1000]]
    assert 350 < sum(first != second for first, second in both) < 650


def test_a_larger_fraction_takes_rows_from_train_and_gives_none_back() -> None:
    before = [split_of(splits(validation=0.1), group) for group in GROUPS]
    after = [split_of(splits(validation=0.2), group) for group in GROUPS]
    assert {("validation", "train")}.isdisjoint(zip(before, after))


def test_a_further_split_moves_hardly_more_rows_than_it_has() -> None:
    before = [split_of(splits(validation=0.1), group) for group in GROUPS]
    after = [split_of(splits(validation=0.1, test=0.1), group) for group in GROUPS]
    moved = sum(first != second for first, second in zip(before, after))
    assert moved < 0.13 * len(GROUPS)


def test_texts_that_look_the_same_are_one_group() -> None:
    assert group_of_prompt(" caf\u00e9\n") == group_of_prompt("cafe\u0301") != group_of_prompt("cafe")


def test_a_row_is_grouped_by_what_the_recipe_names() -> None:
    row = {"prompt": "a fox", "given_sha256": "abc", "source_key": "def", "carried": {"artist": "né", "year": 5}}
    assert group_of("prompt", **row) == group_of_prompt("a fox")
    assert group_of("image", **row) == group_of("image", None, "abc")
    assert group_of("image", None, None, "def") != group_of("image", None, "def")
    assert group_of("artist", **row) == group_of_prompt("né")
    assert group_of("year", **row) == group_of("year", "else", carried={"year": 5})
    assert group_of("year", **row) != group_of("year", "else", carried={"year": 6})


def test_a_row_without_it_is_grouped_by_its_prompt_or_its_image() -> None:
    assert group_of("artist", "a fox", "abc") == group_of_prompt("a fox")
    assert group_of("artist", " ", "abc") == group_of("prompt", None, "abc") == group_of("image", None, "abc")


def test_a_prompt_is_never_taken_for_an_image() -> None:
    assert group_of("prompt", "sha256 abc") != group_of("image", None, "abc")
