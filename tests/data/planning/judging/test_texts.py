"""Texts that scorers compare images with: which column, and what is said where there is none."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from imagemill.data.config.recipe import Recipe
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.errors import RecipeError
from imagemill.data.planning.judging.judge import Judge
from imagemill.data.planning.judging.plan import check_columns
from imagemill.data.planning.judging.scoring import Scoring, Seen
from imagemill.data.scores.records import ScorerFacts
from tests.data.planning.judging.test_replay import FACTS, _row

READS_TEXT = ScorerFacts("fits", "similarity", {"scorer": "fits"}, frozenset(["text"]))


def recipe(**fields: Any) -> Recipe:
    scorers = {"fits": {"kind": "similarity", "model": "bundled-clip"}}
    return Recipe.model_validate({"prompts": "p.jsonl", "generate": {}, "scorers": scorers, **fields})


def judge_of(made: Recipe, schema: DatasetSchema, facts: ScorerFacts = READS_TEXT) -> Judge:
    steps = dict.fromkeys(["generate", "edit"], FACTS)
    return Judge(made, schema, steps, {"fits": facts}, {}, sqlite3.connect(":memory:"))


def test_a_scorer_of_edits_without_a_text_is_refused_with_the_column_to_give() -> None:
    made = recipe(edit={"instructions": ["make it red"]})
    schema = DatasetSchema.of(made, {})
    with pytest.raises(RecipeError, match=r"scorers.fits .* 'target_prompt', which no row .* add that column"):
        check_columns(made, judge_of(made, schema), schema)


def test_a_column_of_the_prompts_is_a_text() -> None:
    made = recipe(edit={"instructions": ["make it red"]})
    schema = DatasetSchema.of(made, {"target_prompt": "str"})
    check_columns(made, judge_of(made, schema), schema)


def test_splits_by_a_column_that_no_row_has_are_refused() -> None:
    made = recipe(splits={"test": 0.1, "by": "category"})
    schema = DatasetSchema.of(made, {})
    with pytest.raises(RecipeError, match=r"splits.by is 'category', which is no column"):
        check_columns(made, judge_of(made, schema), schema)


@pytest.mark.parametrize(
    ("source", "carried", "text"),
    [
        (None, {}, "a red circle"),
        ("0" * 64, {"target_prompt": "a blue circle"}, "a blue circle"),
        ("0" * 64, {"target_prompt": ["a", "b"]}, "b"),
        ("0" * 64, {"target_prompt": 3}, None),
        ("0" * 64, {}, None),
    ],
    ids=["generated", "edited", "one of several", "no text", "absent"],
)
def test_an_edit_is_compared_with_its_target_and_a_generated_image_with_its_prompt(
    source: str | None, carried: dict[str, Any], text: str | None
) -> None:
    scoring = Scoring(recipe(), {"fits": READS_TEXT})
    seen = Seen(_row(carried=carried), "1" * 64, source, "make it blue", number=1)
    assert scoring.texts(READS_TEXT, seen) == (text, "a red circle")
    assert (scoring.request(READS_TEXT, seen) is None) == (text is None)


def test_the_instruction_can_be_the_text() -> None:
    facts = ScorerFacts("fits", "similarity", {"scorer": "fits"}, frozenset(["text"]), text="edit_prompt")
    seen = Seen(_row(), "1" * 64, "0" * 64, "make it blue")
    assert Scoring(recipe(), {"fits": facts}).texts(facts, seen)[0] == "make it blue"
