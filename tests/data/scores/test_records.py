"""Ids of scores cover what a scorer reads and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from imagemill.data.images.pixels import hash_pixels
from imagemill.data.scores.records import ImageRef, Score, ScorerFacts, pixels_id, request_id, rounded


def facts(*reads: str, name: str = "fits", **identity: str) -> ScorerFacts:
    return ScorerFacts(name, "similarity", {"files": "abc", **identity}, frozenset(reads))  # type: ignore[arg-type]


def test_the_name_of_a_scorer_in_the_recipe_is_no_part_of_its_id() -> None:
    assert facts(name="fits").id == facts(name="looks").id != facts(dtype="float16").id


@pytest.mark.parametrize("identify", [request_id, pixels_id])
def test_an_id_covers_what_the_scorer_reads_and_nothing_else(identify) -> None:
    names = {"text": 4, "source": 2, "mask": 3, "before": 5}
    values = ["image", "source", "mask", "text", "before"]
    for read in names:
        scorer = facts(read)
        first = identify(scorer, *values)
        for name, place in names.items():
            changed = [*values[: place - 1], "other", *values[place:]]
            assert (identify(scorer, *changed) != first) == (name == read)
        assert identify(scorer, "other", *values[1:]) != first


def test_a_request_never_has_the_id_of_pixels() -> None:
    assert request_id(facts(), "abc") != pixels_id(facts(), "abc")


def test_texts_that_are_no_unicode_have_ids_too() -> None:
    assert request_id(facts("text"), "abc", text="\ud800") != request_id(facts("text"), "abc", text="\ud801")


def test_a_score_is_rounded_and_zero_has_one_sign() -> None:
    assert Score("s", "r", "p", "k", "h", 0.123456).score == 0.1235
    assert str(rounded(-0.00001)) == "0.0"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Score("s", "r", "p", "k", "h", value)


def test_an_image_is_either_staged_or_given() -> None:
    for wrong in [(None, None, None), ("key", "png", "a.png"), ("key", None, None), (None, "png", "a.png")]:
        with pytest.raises(ValueError, match="staged"):
            ImageRef(*wrong, sha256="abc")


def test_equal_pixels_of_another_shape_or_mode_have_another_hash() -> None:
    pixels = np.arange(48, dtype=np.uint8)
    images = [Image.fromarray(pixels.reshape(shape)) for shape in [(4, 4, 3), (2, 8, 3), (8, 2, 3), (6, 8), (8, 6)]]
    assert len({hash_pixels(image) for image in images}) == len(images)
    assert hash_pixels(images[0]) == hash_pixels(images[0].copy())
