"""Recipes with words: what a step may write, see and ask, and what is refused with a reason."""

from __future__ import annotations

from typing import Any

import pytest

from imagemill.data.config.load import load_recipe
from imagemill.data.config.recipe import Recipe
from imagemill.data.errors import RecipeError


def recipe(*steps: dict[str, Any], **more: Any) -> Recipe:
    """A recipe with these steps, each a change of a plain one."""
    plain = {"model": "m", "api": {"base_url": "http://localhost:1/v1"}, "ask": "Go.", "fields": {"words": "text"}}
    return load_recipe({"prompts": "p.jsonl", "generate": {}, "llm": [{**plain, **step} for step in steps], **more})


@pytest.mark.parametrize(
    ("name", "columns", "role"),
    [
        ("images", {}, "columns.images"),
        ("Image", {}, "the image"),
        ("url", {}, "the image"),
        ("mask", {}, "columns.mask"),
        ("control_image", {}, "columns.control_image"),
        ("id", {}, "columns.id"),
        ("messages", {}, "columns.conversations"),
        ("meta", {"images": "meta.0"}, "columns.images"),
        ("shot", {"images": "Shot"}, "columns.images"),
    ],
)
def test_words_are_never_taken_for_an_image_an_id_or_a_conversation(name: str, columns: dict, role: str) -> None:
    with pytest.raises(RecipeError, match=rf"llm.0.fields has '{name}', which is the column of {role}"):
        recipe({"fields": {name: "text"}}, columns=columns)


def test_several_answers_to_one_question_differ() -> None:
    assert [step.temperature for step in recipe({}, {"count": 1}, {"count": 4}, {"temperature": None}).llm] == [
        *(0, 0, 1, None)
    ]
    with pytest.raises(RecipeError, match="asks the same question 4 times, and with temperature 0"):
        recipe({"count": 4, "temperature": 0})


def test_a_step_sees_no_words_of_another() -> None:
    with pytest.raises(RecipeError, match=r"llm.1.sees has 'words', which an earlier step writes"):
        recipe({}, {"sees": "words"})


def test_without_a_prompts_file_a_step_knows_only_earlier_words() -> None:
    assert recipe({}, {"ask": "Of {words}."}, prompts="").rows_from == "recipe.llm"
    assert recipe({}, prompts="", template={"text": "{words}"}).rows_from == "recipe.template"
    with pytest.raises(RecipeError, match=r"llm.0.ask has {topic}, but no prompts file is given"):
        recipe({"ask": "Of {topic}."}, prompts="")
    with pytest.raises(RecipeError, match=r"llm.0.sees has 'images', but no prompts file is given"):
        recipe({"sees": ["images"]}, prompts="")
    with pytest.raises(RecipeError, match=r"the template has {colour}"):
        recipe({}, prompts="", template={"text": "{words} {colour}"})


def test_a_recipe_of_given_images_may_have_words_alone() -> None:
    assert recipe({}, generate=None).llm
    with pytest.raises(RecipeError, match="'splits' or 'llm'"):
        load_recipe({"prompts": "p.jsonl"})


def test_a_recipe_survives_being_written_and_read() -> None:
    before = recipe({"count": 4}, {"temperature": None})
    assert load_recipe(before.model_dump(mode="json")).llm == before.llm
