"""Chat scorers among a row's candidates: which are asked about, and which are not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from imagemill.data.config.judging.judged import rules_of
from imagemill.data.config.recipe import Recipe
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.planning.judging.known_images import KnownScore
from imagemill.data.planning.judging.leftovers import Stored, find_leftovers
from imagemill.data.planning.judging.looks import Replay
from imagemill.data.planning.judging.outcomes import Outcomes
from imagemill.data.planning.judging.replay import Replayer
from imagemill.data.planning.judging.scoring import Scoring, Seen
from imagemill.data.planning.row_planner import RowPlanner
from imagemill.data.prompts.row import Row
from imagemill.models.catalog.scorers.chat import resolve_chat
from tests.data.planning.judging.test_replay import FACTS, FITS, World, _Known, _row

JUDGE = {
    "kind": "chat",
    "model": "judge",
    "api": {"base_url": "http://localhost:1/v1"},
    "ask": "How well does it follow {prompt}?",
    "fields": {"follows": "1..5", "reason": "text"},
}
SCORERS = {
    "fits": {"kind": "similarity", "model": "bundled-clip", "text": "prompt"},
    "judge": JUDGE,
    "mean": {"kind": "formula", "text": "(fits + judge_follows / 5) / 2"},
}


@dataclass
class Judged(World):
    """A world with a model's score and a language model's; ``asked`` has the candidates it was asked about."""

    asked: list[int] = field(default_factory=list)
    follows: dict[int, float] = field(default_factory=dict)

    def replayer(self) -> tuple[RowPlanner, Replayer, Scoring]:
        planner = RowPlanner(self.recipe, dict.fromkeys(["generate"], FACTS), DatasetSchema.of(self.recipe, {}))
        judge = {name: spec.facts() for name, spec in resolve_chat("judge", self.recipe.scorers["judge"]).items()}
        scoring = Scoring(self.recipe, {"fits": FITS, **judge})
        return planner, Replayer(planner, rules_of(self.recipe), scoring, _Known(self)), scoring

    def settle(self, row: Row) -> Replay:
        _, replayer, scoring = self.replayer()
        while (replay := replayer.replay(row)).wanted:
            for look in replay.wanted:
                if look.image is None:
                    self.settle_image(look)
                    continue
                kinds = {facts.question is not None for facts in look.lacking}
                assert len(kinds) == 1, "a language model is asked when all others have looked"
                if kinds == {True}:
                    self.asked.append(look.number)
                for facts in look.lacking:
                    request = scoring.request(facts, look.seen)
                    score = self.score(look) if facts.question is None else self.follows.get(look.number, 4.0)
                    self.scores[request] = KnownScore(None, "why") if facts.is_text else KnownScore(score)
        return replay


def recipe(scorers: dict[str, Any] = SCORERS, **select: Any) -> Recipe:
    generate = {"model": "bundled", "select": select}
    return Recipe.model_validate({"prompts": "prompts.jsonl", "scorers": scorers, "generate": generate})


def numbers(replay: Replay) -> list[int]:
    return [leaf.look.number for leaf in replay.kept]


def test_a_language_model_is_asked_only_about_what_passes_the_other_rules() -> None:
    where = {"fits": {"min": 0.2}, "judge_follows": {"min": 4}}
    world = Judged(recipe(of=4, where=where), lambda look: look.number / 10)
    world.follows = {2: 3.0}
    replay = world.settle(_row())
    assert world.asked == [2, 3]
    assert numbers(replay) == [3]
    reasons = {leaf.look.number: leaf.rejected_by for leaf in replay.leaves if leaf.rejected_at}
    assert reasons == {0: "fits", 1: "fits", 2: "judge_follows"}
    scores = {leaf.look.number: leaf.look.scores["judge_follows"] for leaf in replay.leaves}
    assert scores == {0: None, 1: None, 2: 3.0, 3: 4.0}


def test_a_lower_threshold_asks_about_those_that_pass_now_and_a_higher_one_about_none() -> None:
    world = Judged(recipe(of=4, where={"fits": {"min": 0.3}}, best="judge_follows"), lambda look: look.number / 10)
    world.settle(_row())
    assert world.asked == [3]
    world.recipe = recipe(of=4, where={"fits": {"min": 0.1}}, best="judge_follows")
    world.settle(_row())
    assert world.asked == [3, 1, 2]
    world.recipe = recipe(of=4, where={"fits": {"min": 0.2}}, best="judge_follows")
    assert numbers(world.settle(_row())) == [2]
    assert world.asked == [3, 1, 2]


def test_a_formula_over_an_answer_waits_for_it_and_is_no_reason_not_to_ask() -> None:
    where = {"mean": {"min": 0.6}, "fits": {"min": 0.2}}
    world = Judged(recipe(of=4, where=where, best="mean"), lambda look: look.number / 10 + 0.1)
    world.follows = {1: 5.0}
    replay = world.settle(_row())
    assert world.asked == [1, 2, 3]
    assert numbers(replay) == [1]
    assert replay.kept[0].look.scores["mean"] == 0.6


def test_until_enough_asks_no_further_than_needed() -> None:
    rule = {"of": 5, "where": {"judge_follows": {"min": 4}}, "draw": "until_enough"}
    world = Judged(recipe(**rule))
    world.follows = {0: 1.0}
    assert numbers(world.settle(_row())) == [1]
    assert world.asked == [0, 1]


def test_a_candidate_that_no_choice_looks_at_any_more_is_not_asked_about() -> None:
    world = Judged(recipe(of=3))
    replay = world.settle(_row())
    stored = {leaf.row_key: Stored("data", leaf.look.number, leaf.look.number) for leaf in replay.leaves}
    world.recipe = recipe({**SCORERS, "judge": {**JUDGE, "ask": "Is it good?"}}, of=1)
    planner, replayer, _ = world.replayer()
    asked = len(world.asked)
    replay = world.settle(_row())
    assert len(world.asked) == asked + 1
    left = find_leftovers(planner, replayer, replay, stored)
    assert [leaf.look.number for leaf in left] == [1, 2]
    assert [leaf.look.lacking for leaf in left] == [(), ()]


def test_texts_are_columns_of_their_names_and_scores_columns_with_score() -> None:
    world = Judged(recipe(of=2, best="judge_follows"))
    _, _, scoring = world.replayer()
    outcomes = Outcomes(world.recipe, scoring)
    columns = {column.name: column.kind for column in outcomes.columns()}
    assert columns == {
        "candidate": "int",
        "score_fits": "float32",
        "score_judge_follows": "float32",
        "score_mean": "float32",
        "judge_reason": "str",
    }
    place = outcomes.place(0, world.settle(_row()).kept[0])
    assert {name: place.outcomes[name] for name in ("score_judge_follows", "judge_reason")} == {
        "score_judge_follows": 4.0,
        "judge_reason": "why",
    }


@pytest.mark.parametrize(
    ("carried", "question"),
    [
        ({"n": 3}, "a red circle, 3"),
        ({"n": "{prompt} {0.__class__}"}, "a red circle, {prompt} {0.__class__}"),
        ({"n": ["x", "y"]}, "a red circle, y"),
        ({"n": True}, None),
        ({"n": " "}, None),
        ({}, None),
    ],
)
def test_a_question_has_the_rows_values_and_is_not_asked_without_one(
    carried: dict[str, Any], question: str | None
) -> None:
    made = recipe({**SCORERS, "judge": {**JUDGE, "ask": "{prompt}, {n}"}})
    facts = resolve_chat("judge", made.scorers["judge"])["judge_follows"].facts()
    seen = Seen(_row(carried=carried), "1" * 64, number=1)
    scoring = Scoring(made, {"fits": FITS, "judge_follows": facts})
    assert scoring.texts(facts, seen)[0] == question
    assert (scoring.request(facts, seen) is None) == (question is None)
