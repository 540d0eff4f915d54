"""Replay of a row's choices, from what is known of its candidates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from imagemill.data.config.judging.judged import rules_of
from imagemill.data.config.recipe import Recipe
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.planning.judging.known_images import KnownImage, KnownScore
from imagemill.data.planning.judging.leftovers import Stored, find_leftovers
from imagemill.data.planning.judging.looks import Look, Replay
from imagemill.data.planning.judging.replay import Replayer
from imagemill.data.planning.judging.scoring import Scoring
from imagemill.data.planning.row_planner import RowPlanner
from imagemill.data.prompts.row import Row
from imagemill.data.records import ModelFacts, SetAside
from imagemill.data.scores.records import ScorerFacts

FACTS = ModelFacts("tiny", "1", {"tiny": True}, 64, 64, 4, 2.0, 8, True)
FITS = ScorerFacts("fits", "similarity", {"scorer": "fits"}, frozenset(["text"]), text="prompt")


@dataclass
class World:
    """One recipe, what is known of its images, and scores that a function of the candidate's numbers gives."""

    recipe: Recipe
    score: Callable[[Look], float | None] = lambda look: 0.5
    images: dict[str, KnownImage] = field(default_factory=dict)
    scores: dict[str, KnownScore] = field(default_factory=dict)
    failures: dict[str, SetAside] = field(default_factory=dict)
    generated: list[str] = field(default_factory=list)
    scored: int = 0

    def image(self, key: str) -> KnownImage | None:
        return self.images.get(key)

    def failure(self, row_key: str) -> SetAside | None:
        return self.failures.get(row_key)

    def known_score(self, request: str) -> KnownScore | None:
        return self.scores.get(request)

    def replayer(self) -> tuple[RowPlanner, Replayer, Scoring]:
        schema = DatasetSchema.of(self.recipe, {})
        steps = ["generate", "edit", "edit 2"]
        planner = RowPlanner(self.recipe, dict.fromkeys(steps, FACTS), schema)
        scoring = Scoring(self.recipe, {"fits": FITS} if self.recipe.scorers else {})
        return planner, Replayer(planner, rules_of(self.recipe), scoring, _Known(self)), scoring

    def settle(self, row: Row) -> Replay:
        """Generate and score what each replay wants, until it wants nothing."""
        _, replayer, scoring = self.replayer()
        while (replay := replayer.replay(row)).wanted:
            for look in replay.wanted:
                if look.image is None:
                    self.settle_image(look)
                for facts in look.lacking if look.seen is not None else ():
                    request = scoring.request(facts, look.seen)
                    assert request is not None
                    self.scores[request] = KnownScore(self.score(look))
                    self.scored += 1
        return replay

    def settle_image(self, look: Look) -> None:
        """Generate a candidate's image."""
        self.generated.append(look.key)
        self.images[look.key] = KnownImage(look.key, is_staged=True)


@dataclass
class _Known:
    world: World

    def image(self, key: str) -> KnownImage | None:
        return self.world.image(key)

    def score(self, request: str) -> KnownScore | None:
        return self.world.known_score(request)

    def failure(self, row_key: str) -> SetAside | None:
        return self.world.failure(row_key)


def _row(**fields: Any) -> Row:
    empty: Mapping[str, Any] = dict.fromkeys(Row._fields)
    given = {"id": "a", "seed_id": "a", "prompt": "a red circle", "edit_prompts": (), "references": (), "guides": ()}
    return Row(**{**empty, **given, "carried": {}, "file": "prompts.jsonl", "line": 1, **fields})


def _recipe(**fields: Any) -> Recipe:
    scorers = {"fits": {"kind": "similarity", "model": "bundled-clip", "text": "prompt"}}
    return Recipe.model_validate({"prompts": "prompts.jsonl", "scorers": scorers, **fields})


def _generate(**select: Any) -> dict[str, Any]:
    return {"model": "bundled", "select": select}


def test_all_candidates_are_generated_and_the_best_is_kept() -> None:
    world = World(_recipe(generate=_generate(of=4, best="fits")), lambda look: (0.2, 0.9, 0.4, 0.1)[look.number])
    replay = world.settle(_row())
    assert [leaf.look.number for leaf in replay.kept] == [1]
    assert {leaf.look.number: leaf.rejected_by for leaf in replay.leaves if leaf.rejected_at} == dict.fromkeys(
        (0, 2, 3), "not best"
    )
    assert len(world.generated) == 4


def test_another_threshold_asks_for_no_image_and_no_score() -> None:
    world = World(_recipe(generate=_generate(of=4, where={"fits": {"min": 0.3}})), lambda look: look.number / 10)
    world.settle(_row())
    before = len(world.generated), world.scored
    world.recipe = _recipe(generate=_generate(of=4, where={"fits": {"min": 0.2}}))
    replay = world.settle(_row())
    assert [leaf.look.number for leaf in replay.kept] == [2]
    assert (len(world.generated), world.scored) == before


def test_until_enough_generates_one_candidate_after_the_other() -> None:
    rule = {"of": 5, "where": {"fits": {"min": 0.2}}, "draw": "until_enough"}
    world = World(_recipe(generate=_generate(**rule)), lambda look: look.number / 10)
    replay = world.settle(_row())
    assert [leaf.look.number for leaf in replay.kept] == [2]
    assert len(world.generated) == 3


def test_the_first_candidate_is_the_image_of_a_recipe_without_select() -> None:
    plain = Recipe.model_validate({"prompts": "prompts.jsonl", "generate": {"model": "bundled"}})
    planner, _, _ = World(plain).replayer()
    (only,) = next(planner.planned_rows(_row()))
    replay = World(_recipe(generate=_generate(of=2))).settle(_row())
    assert replay.kept[0].row_key == only.row_key


def test_the_first_edit_is_the_edit_of_a_recipe_without_select() -> None:
    sections = {"generate": {"model": "bundled"}, "edit": {"model": "bundled", "instructions": ["make it blue"]}}
    plain = Recipe.model_validate({"prompts": "prompts.jsonl", **sections})
    planner, _, _ = World(plain).replayer()
    (only,) = next(planner.planned_rows(_row()))
    world = World(_recipe(**sections | {"edit": sections["edit"] | {"select": {"of": 3}}}))
    replay = world.settle(_row())
    assert [leaf.row_key for leaf in replay.kept] == [only.row_key]
    assert len(set(world.generated)) == 4


def test_candidates_of_an_edit_start_from_one_source() -> None:
    edit = {"model": "bundled", "instructions": ["make it blue"], "select": {"of": 3, "best": "fits"}}
    world = World(_recipe(generate={"model": "bundled"}, edit=edit), lambda look: look.number / 10)
    replay = world.settle(_row())
    edits = [leaf for leaf in replay.leaves if not leaf.is_partial]
    assert len({leaf.look.planned.path[0].key for leaf in edits}) == 1
    assert len({leaf.look.planned.path[1].fields["seed"] for leaf in edits}) == 3
    assert [leaf.look.number for leaf in replay.kept] == [2]


def test_what_is_rejected_is_not_edited() -> None:
    edit = {"model": "bundled", "instructions": ["make it blue", "make it green"]}
    generate = _generate(of=3, where={"fits": {"min": 0.15}}) | {"images_per_prompt": 2}
    world = World(_recipe(generate=generate, edit=edit), lambda look: look.planned.variant / 10)
    replay = world.settle(_row())
    assert {leaf.look.planned.variant for leaf in replay.kept} == {2}
    assert len(world.generated) == 3 + 2
    assert [(leaf.look.number, leaf.rejected_by, leaf.is_partial) for leaf in replay.leaves if leaf.rejected_at] == [
        (0, "fits", True),
        (1, "fits", True),
    ]


def test_the_best_of_a_turn_is_the_source_of_the_next() -> None:
    edit = {
        "model": "bundled",
        "multi_turn": True,
        "instructions": ["make it blue", "make it large"],
        "select": {"of": 2, "best": "fits"},
    }
    world = World(_recipe(generate={"model": "bundled"}, edit=edit), lambda look: look.number / 10)
    replay = world.settle(_row())
    first, second = replay.kept
    assert second.look.planned.path[:2] == first.look.planned.path
    assert first.look.number == second.look.number == 1
    assert len(world.generated) == 1 + 2 + 2


def test_a_turn_without_an_image_ends_the_conversation_and_the_turns_before_it_stay() -> None:
    edit = {
        "model": "bundled",
        "multi_turn": True,
        "instructions": ["make it blue", "make it large", "make it small"],
        "select": {"of": 2, "where": {"fits": {"min": 0.5}}},
    }
    world = World(
        _recipe(generate={"model": "bundled"}, edit=edit), lambda look: 0.1 if len(look.planned.path) == 3 else 0.9
    )
    replay = world.settle(_row())
    assert [len(leaf.look.planned.path) for leaf in replay.kept] == [2]
    assert [len(choice.kept) for _, choice in replay.choices] == [1, 1, 0]


def test_a_failed_candidate_is_one_candidate_less() -> None:
    world = World(_recipe(generate=_generate(of=3, best="fits")), lambda look: look.number / 10)
    _, replayer, _ = world.replayer()
    last = replayer.replay(_row()).wanted[2]
    world.failures[last.planned.row_key] = SetAside("generate", "a", "prompts.jsonl", 1, "blank")
    replay = world.settle(_row())
    assert [leaf.look.number for leaf in replay.kept] == [1]
    assert [is_missed for _, is_missed in replay.failures] == [False]


def test_a_failed_candidate_counts_where_the_row_ends_with_fewer_images() -> None:
    world = World(_recipe(generate=_generate(of=2, best="fits") | {"images_per_prompt": 2}))
    _, replayer, _ = world.replayer()
    world.failures[replayer.replay(_row()).wanted[0].planned.row_key] = SetAside("generate", "a", "f", 1, "blank")
    replay = world.settle(_row())
    assert len(replay.kept) == 1
    assert [is_missed for _, is_missed in replay.failures] == [True]


def test_edits_of_a_source_that_lost_its_place_are_rejected_with_its_reason() -> None:
    edit = {"model": "bundled", "instructions": ["make it blue"]}
    world = World(_recipe(generate=_generate(of=2, best="fits"), edit=edit), lambda look: look.planned.variant / 10)
    before = world.settle(_row())
    stored = {leaf.row_key: Stored("data", leaf.look.planned.variant, leaf.look.number) for leaf in before.kept}
    world.recipe = _recipe(generate=_generate(of=2), edit=edit)
    after = world.settle(_row())
    planner, replayer, _ = world.replayer()
    left = find_leftovers(planner, replayer, after, stored)
    assert [leaf.row_key for leaf in left] == list(stored)
    assert [(leaf.rejected_at, leaf.rejected_by) for leaf in left] == [("generate", "surplus")]


def test_a_candidate_beyond_a_smaller_of_is_surplus() -> None:
    world = World(_recipe(generate=_generate(of=4, best="fits")), lambda look: look.number / 10)
    before = world.settle(_row())
    stored = {leaf.row_key: Stored("data", leaf.look.planned.variant, leaf.look.number) for leaf in before.leaves}
    world.recipe = _recipe(generate=_generate(of=2, best="fits"))
    after = world.settle(_row())
    planner, replayer, _ = world.replayer()
    left = find_leftovers(planner, replayer, after, stored)
    assert sorted((leaf.look.number, leaf.rejected_by) for leaf in left) == [(2, "surplus"), (3, "surplus")]
