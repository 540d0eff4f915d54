"""The form of an answer: what a recipe may ask for, what a server is sent, and what is read."""

from __future__ import annotations

from typing import Any

import pytest

from imagemill.data.config.words.answer_fields import (
    MAX_ITEMS,
    MAX_TEXT_CHARS,
    in_words,
    json_schema,
    parse_fields,
    read_values,
)

FORMS: dict[str, Any] = {
    "follows": "1..5",
    "verdict": ["good", "bad"],
    "reason": "text",
    "tags": "list",
    "share": "number",
}
RIGHT = {"follows": 3, "verdict": "good", "reason": "why", "tags": ["a"], "share": 0.5}


def test_a_schema_says_what_each_field_holds_and_allows_no_other() -> None:
    schema = json_schema(parse_fields(FORMS))
    assert schema["properties"] == {
        "follows": {"type": "integer", "minimum": 1, "maximum": 5},
        "verdict": {"type": "string", "enum": ["good", "bad"]},
        "reason": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "share": {"type": "number"},
    }
    assert schema["required"] == list(FORMS)
    assert schema["additionalProperties"] is False
    assert "\"verdict\" (one of 'good', 'bad')" in in_words(parse_fields(FORMS))


@pytest.mark.parametrize(
    ("forms", "message"),
    [
        ({}, "it has no field"),
        ({"a": "integer"}, "a is 'integer': allowed are text, number, list"),
        ({"a": "5..1"}, "the first number must be the smaller one"),
        ({"a": "1..99999999"}, "allowed are text"),
        ({"a": ["one"]}, "choices must be two texts or more"),
        ({"a": ["One", "one"]}, "lists a choice twice"),
        ({"a b": "text"}, "'a b' is not a field's name"),
        ({"__class__.x": "text"}, "is not a field's name"),
        ({f"f{number}": "text" for number in range(40)}, "it has 40 fields"),
    ],
)
def test_a_form_that_is_none_is_refused_with_what_is_allowed(forms: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        parse_fields(forms)
    assert message in str(error.value)


def test_values_come_in_the_recipes_order_and_kinds_and_others_are_left_out() -> None:
    given = {"more": 1, **dict(reversed(RIGHT.items())), "follows": "4", "verdict": " Good ", "share": 1}
    values = read_values(parse_fields(FORMS), given)
    assert list(values) == list(FORMS)
    assert values == {**RIGHT, "follows": 4, "verdict": "good", "share": 1.0}
    assert [type(value) for value in values.values()] == [int, str, str, list, float]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("follows", 0, "follows is 0, not a whole number from 1 to 5"),
        ("follows", 3.5, "follows is 3.5, not a whole number"),
        ("follows", 10**4000, "follows is <a number of about"),
        ("share", float("nan"), "share is nan, not a number"),
        ("share", float("inf"), "share is inf, not a number"),
        ("share", 10**400, "share is <a number of about"),
        ("share", "1e5", "share is '1e5', not a number"),
        ("verdict", "fine", "verdict is 'fine', not one of 'good', 'bad'"),
        ("tags", "a", "tags is 'a', not a list of texts"),
        ("tags", [["a"]], "tags is ['a'], not"),
        ("tags", ["a"] * (MAX_ITEMS + 1), "tags has 1,001 items"),
        ("reason", "x" * (MAX_TEXT_CHARS + 1), "reason has 20,001 characters"),
        ("reason", None, "reason is None, not a text"),
    ],
)
def test_a_value_of_another_kind_or_size_names_its_field(name: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        read_values(parse_fields(FORMS), {**RIGHT, name: value})
    assert message in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("text", ["{prompt}", "{0.__class__}", "<b>x</b>", "../../etc/passwd", "# a\n* b", "%s"])
def test_a_text_is_read_as_it_is(text: str) -> None:
    assert read_values(parse_fields({"reason": "text"}), {"reason": text}) == {"reason": text}


def test_half_of_a_surrogate_pair_which_no_file_can_hold_is_replaced() -> None:
    assert read_values(parse_fields({"reason": "text"}), {"reason": "a\ud800b"}) == {"reason": "a?b"}
