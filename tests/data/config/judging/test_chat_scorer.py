"""A recipe's chat scorers: what they give, what they may see, and names that would mean two things."""

from __future__ import annotations

from typing import Any

import pytest

from imagemill.data.config.judging.names import given_scores
from imagemill.data.config.load import load_recipe
from imagemill.data.errors import RecipeError

JUDGE: dict[str, Any] = {
    "kind": "chat",
    "model": "judge",
    "api": {"base_url": "http://localhost:8000/v1"},
    "ask": "How well?",
    "fields": {"follows": "1..5", "share": "number", "reason": "text", "verdict": ["good", "bad"]},
}
EDIT = {"edit": {"instructions": ["make it red"]}}


def recipe(scorers: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"prompts": "p.jsonl", "generate": {}, "scorers": scorers, **fields}


def test_numbers_are_scores_and_texts_are_columns() -> None:
    made = load_recipe(recipe({"judge": JUDGE}, generate={"select": {"of": 2, "best": "judge_follows"}}))
    scorer = made.scorers["judge"]
    assert scorer.scores("judge") == ("judge_follows", "judge_share")
    assert scorer.texts("judge") == ("judge_reason", "judge_verdict")
    assert given_scores({"judge": JUDGE, "sharp": {"kind": "pixels"}}) == ["judge_follows", "judge_share", "sharp"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (recipe({"judge": JUDGE | {"sees": ["picture"]}}), "sees names 'picture': a scorer sees image, edited_image"),
        (recipe({"judge": JUDGE | {"fields": {"Follows": "1..5"}}}), "fields has 'Follows'"),
        (recipe({"judge": JUDGE | {"fields": {"tags": "list"}}}), "fields.tags is a list: a scorer gives numbers"),
        (recipe({"judge": JUDGE | {"api": {}}}), "api.base_url is missing"),
        (recipe({"judge": JUDGE | {"sees": ["input_image"]}}), "scorers.judge compares an edit with its input, but"),
        (recipe({"judge": JUDGE | {"sees": ["edited_image"]}}), "scorers.judge judges edits, but the recipe edits"),
        (
            recipe({"judge": JUDGE}, generate={"select": {"of": 2, "best": "judge"}}),
            "generate.select.best names the scorer 'judge', which there is not: the scorers are judge_follows",
        ),
        (
            recipe({"judge": JUDGE | {"sees": ["edited_image"]}}, generate={"select": {"best": "judge_share"}}, **EDIT),
            "generate.select names 'judge_share', but scorers.judge, which scorers.judge_share reads,",
        ),
        (
            recipe({"judge": JUDGE, "judge_share": {"kind": "pixels", "measure": "sharpness"}}),
            "scorers.judge_share and scorers.judge both give 'judge_share'",
        ),
        (
            recipe({"judge": JUDGE}, pairs={"by": "judge_reason", "margin": 1}),
            "pairs.by names the scorer 'judge_reason', which there is not",
        ),
    ],
)
def test_a_chat_scorer_that_cannot_be_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as error:
        load_recipe(fields)
    assert message in str(error.value)
