"""A question in a recipe: its settings, and what of them decides an answer."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from imagemill.data.config.words.asking import Asking
from imagemill.data.config.words.placeholders import fill_in

RIGHT: dict[str, Any] = {
    "model": "judge",
    "api": {"base_url": "http://localhost:8000/v1"},
    "ask": "How well does it follow {edit_prompt}?",
    "fields": {"follows": "1..5"},
}


def asking(**more: Any) -> Asking:
    return Asking.model_validate({**RIGHT, **more})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"api": {}}, "api.base_url is missing"),
        ({"api": {"base_url": "localhost"}}, "it usually ends in /v1"),
        ({"api": {"base_url": "http://localhost/v1?x=1"}}, "/chat/completions is appended"),
        ({"api": {"base_url": "http://localhost/v1", "extra": {"stream": True}}}, "extra holds 'stream'"),
        ({"ask": "{"}, "literal braces are written"),
        ({"ask": "{a!r}"}, "braces without a plain name"),
        ({"fields": {"follows": [True, False]}}, "fields.follows"),
        ({"max_cost": 1}, "give cost_per_request"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=None) as error:
        asking(**settings)
    assert message in str(error.value)


def test_choices_that_are_numbers_are_texts() -> None:
    assert asking(fields={"stars": [1, 2]}).answer_fields["stars"].choices == ("1", "2")


def test_address_budget_and_retries_do_not_decide_an_answer() -> None:
    first = asking().identity()
    other = {"base_url": "http://elsewhere/v1", "concurrency": 2, "retries": 1}
    assert asking(api=other, max_requests=5, max_cost=1, cost_per_request=0.1).identity() == first
    for more in ({"revision": "2"}, {"system": "x"}, {"temperature": 1}, {"seed": 1}, {"sees": "image"}):
        assert asking(**more).identity() != first
    assert asking(api={**RIGHT["api"], "extra": {"top_p": 0.9}}).identity() != first


def test_a_value_is_put_into_a_question_as_it_is() -> None:
    values = {"edit_prompt": "{model} {0.__class__} {{x}} %s"}
    assert fill_in(RIGHT["ask"], values) == "How well does it follow {model} {0.__class__} {{x}} %s?"
