"""The recipe's sections for judging: each invalid one has one message with the field, the value and what is allowed."""

import pytest

from imagemill.data.config.judging.judged import given_of, is_judged, rules_of
from imagemill.data.config.judging.scorers import apply_formulas, formulas_in_order, score_names
from imagemill.data.config.judging.select import Bounds, Rule
from imagemill.data.config.load import load_recipe
from imagemill.data.config.recipe import Recipe
from imagemill.data.errors import RecipeError

SCORERS = {
    "fits": {"kind": "similarity", "model": "bundled-clip"},
    "looks": {"kind": "head", "model": "org/clip", "head": "org/head"},
    "nsfw": {"kind": "classify", "model": "org/nsfw", "label": "nsfw"},
    "keeps": {"kind": "similarity", "model": "org/dino", "against": "source"},
    "turns": {"kind": "similarity", "model": "org/clip", "against": "direction"},
    "sharp": {"kind": "pixels", "measure": "sharpness"},
    "mean": {"kind": "formula", "text": "sqrt(fits * keeps)"},
}
CHAIN = {"prompts": "p", "generate": {}, "edit": {"instructions": ["a"]}, "scorers": SCORERS}
GENERATE = {"prompts": "p", "generate": {}}
GIVEN = {"prompts": "p", "scorers": {"fits": SCORERS["fits"]}}


def generating(**section):
    return {**CHAIN, "generate": section}


def scoring(**scorers):
    return {**GENERATE, "scorers": scorers}


REFUSED = [
    (scoring(n={"kind": "magic"}), "recipe.scorers.n.kind is 'magic': it must be one of 'similarity', 'head', 'class"),
    (scoring(n={"model": "x"}), "recipe.scorers.n.kind is missing: it must be one of 'similarity', 'head', 'classify'"),
    (scoring(n="clip"), "recipe.scorers.n is 'clip': it must be a section, such as {kind: 'similarity', ...}."),
    (scoring(n={"kind": "head", "model": "x"}), "recipe.scorers.n.head is missing: The head: a .safetensors file, a"),
    (scoring(n={"kind": "similarity", "model": "x", "hed": 1}), "recipe.scorers.n.hed is not a field: Known here:"),
    (
        scoring(n={"kind": "similarity", "model": "x", "batch_size": 0}),
        "recipe.scorers.n.batch_size is 0: it must be a whole number from 1 to 1024, or 'auto'.",
    ),
    (
        scoring(n={"kind": "similarity", "model": "x", "against": "source", "text": "t"}),
        "recipe.scorers.n: against is source and text is 't': two images are compared",
    ),
    (scoring(N=SCORERS["fits"]), "recipe.scorers.N: 'N' is not a name for a scorer: it must be of small letters"),
    (scoring(min=SCORERS["fits"]), "recipe.scorers.min: 'min' is a word of formulas, filters or columns: give the"),
    (scoring(**{"a" * 41: SCORERS["fits"]}), f"recipe.scorers.{'a' * 41}: '{'a' * 41}' is not a name for a scorer"),
    (scoring(n={"kind": "formula", "text": "1 +"}), "recipe.scorers.n.text: the formula '1 +': it ends, where a"),
    (
        scoring(n={"kind": "formula", "text": "x"}),
        "recipe: scorers.n.text names the scorer 'x', which there is not: the scorers are n.",
    ),
    (
        scoring(n={"kind": "formula", "text": "m"}, m={"kind": "formula", "text": "n"}),
        "recipe: scorers: the formulas n -> m -> n read each other in a circle",
    ),
    (scoring(n={"kind": "formula", "text": "n + 1"}), "recipe: scorers: the formulas n -> n read each other"),
    (scoring(n=SCORERS["keeps"]), "recipe: scorers.n compares an edit with its input, but the recipe edits nothing"),
    (
        {**CHAIN, "scorers": {"n": {"kind": "pixels", "measure": "changed_outside_mask"}}},
        "recipe: scorers.n measures what changed outside a mask, but no edit has the task inpaint",
    ),
    (generating(select={"of": 0}), "recipe.generate.select.of is 0: it must be a whole number from 1 to 10000."),
    (
        generating(images_per_prompt=3, select={"of": 2}),
        "recipe.generate: select.of is 2 and images_per_prompt is 3: of is how many candidates there are in all",
    ),
    (
        generating(select={"where": {"fit": {"min": 1}}}),
        "recipe: generate.select.where names the scorer 'fit', which there is not: the scorers are fits, looks, nsfw",
    ),
    (
        {**GENERATE, "generate": {"select": {"best": "fits"}}},
        "recipe: generate.select.best names the scorer 'fits', which there is not: the recipe has no scorers.",
    ),
    (
        generating(select={"where": {"fits": {}}}),
        "recipe.generate.select.where.fits: it has neither min nor max: give one",
    ),
    (
        generating(select={"where": {"fits": {"min": 1, "max": 0}}}),
        "recipe.generate.select.where.fits: min is 1 and max is 0, so that no score passes",
    ),
    (
        generating(select={"where": {"fits": 0.2}}),
        "recipe.generate.select.where.fits is 0.2: it must be a section, such as {min: ...}",
    ),
    (
        generating(select={"where": {"fits": {"mn": 0.2}}}),
        "recipe.generate.select.where.fits.mn is not a field: did you mean 'min'?",
    ),
    (
        generating(select={"where": {"fits": {"min": float("nan")}}}),
        "recipe.generate.select.where.fits.min is nan: input should be a finite number.",
    ),
    (
        generating(select={"best": "fits", "draw": "until_enough"}),
        "recipe.generate.select: draw is until_enough and best is 'fits': the best is known only when all",
    ),
    (
        generating(select={"best": "keeps"}),
        "recipe: generate.select names 'keeps', but scorers.keeps compares an edit with its input, and this step has",
    ),
    (generating(select={"where": {"turns": {"min": 0}}}), "recipe: generate.select names 'turns', but scorers.turns"),
    (
        generating(select={"best": "mean"}),
        "recipe: generate.select names 'mean', but scorers.keeps, which scorers.mean reads, compares an edit",
    ),
    (
        {**CHAIN, "edit": {"multi_turn": True, "images_per_instruction": 2}},
        "recipe.edit: multi_turn is true and images_per_instruction is 2: each turn edits the one image of the turn",
    ),
    (
        {**CHAIN, "edit": {"images_per_instruction": 3, "select": {"of": 2}}},
        "recipe.edit: select.of is 2 and images_per_instruction is 3",
    ),
    ({**GENERATE, "rejected": "no"}, "recipe.rejected is 'no': input should be 'keep', 'scores' or 'drop'."),
    ({**GENERATE, "splits": {}}, "recipe.splits: it names no split: give at least one, such as {validation: 0.02}."),
    ({**GENERATE, "splits": {"test": 1}}, "recipe.splits.test is 1: input should be less than 1."),
    ({**GENERATE, "splits": {"test": 0}}, "recipe.splits.test is 0: input should be greater than 0."),
    ({**GENERATE, "splits": {"dev": "x"}}, "recipe.splits.dev is 'x': input should be a valid number"),
    ({**GENERATE, "splits": {"test": 0.5, "dev": 0.5}}, "recipe.splits: the fractions add up to 1: they must leave"),
    ({**GENERATE, "splits": {"train": 0.5}}, "recipe.splits: 'train' is no name for a split: train is the split of"),
    ({**GENERATE, "splits": {"all": 0.5}}, "recipe.splits: 'all' is no name for a split"),
    ({**GENERATE, "splits": {"a-b": 0.5}}, "recipe.splits: 'a-b' is not a name for a split: it must be of small"),
    (
        {**GENERATE, "duplicates": {"distance": 17}},
        "recipe.duplicates.distance is 17: it must be a whole number from 0",
    ),
    ({**GENERATE, "duplicates": {"cosine": 0.9}}, "recipe.duplicates: by is phash and cosine is given"),
    ({**CHAIN, "duplicates": {"by": "fits"}}, "recipe.duplicates: by is 'fits' and cosine is missing: give it, such"),
    (
        {**CHAIN, "duplicates": {"by": "fits", "cosine": 0.9, "distance": 2}},
        "recipe.duplicates: by is 'fits' and distance is given",
    ),
    (
        {**CHAIN, "duplicates": {"by": "sharp", "cosine": 0.9}},
        "recipe: duplicates.by is 'sharp', a scorer that makes no embeddings: allowed are phash, fits, looks, keeps,",
    ),
    ({**CHAIN, "duplicates": {"by": "no", "cosine": 0.9}}, "recipe: duplicates.by names the scorer 'no', which there"),
    ({**CHAIN, "pairs": {}}, "recipe.pairs.by is missing: Scorer by which one image is better than the other."),
    ({**CHAIN, "pairs": {"by": "no"}}, "recipe: pairs.by names the scorer 'no', which there is not: the scorers are"),
    ({**CHAIN, "pairs": {"by": "fits", "margin": -1}}, "recipe.pairs.margin is -1: it must be a number, at least 0."),
    ({**CHAIN, "pairs": {"by": "fits", "most": 0}}, "recipe.pairs.most is 0: it must be a whole number from 1 to"),
    ({"prompts": "p", "given": {}}, "recipe: nothing to generate: give a 'generate' section, an 'edit' section, or"),
    ({"prompts": "p", "rejected": "drop"}, "recipe: nothing to generate: give a 'generate' section, an 'edit'"),
    ({**GENERATE, "given": {}}, "recipe: 'given' judges images that rows supply, but the recipe has 'generate'"),
    ({**GIVEN, "given": {"select": {"of": 2}}}, "recipe.given: select.of is 2: a row's own image is its only"),
    ({**GIVEN, "given": {"select": {"best": "no"}}}, "recipe: given.select.best names the scorer 'no'"),
]


@pytest.mark.parametrize(("fields", "expected"), REFUSED)
def test_an_invalid_section_has_one_clear_message(fields, expected):
    with pytest.raises(RecipeError) as caught:
        load_recipe(fields)
    assert str(caught.value).startswith(expected)


def test_a_recipe_with_all_of_judging_survives_a_round_trip_through_json():
    recipe = load_recipe(
        {
            **CHAIN,
            "generate": {"select": {"of": 4, "where": {"fits": {"min": 0.24}}, "best": "looks"}},
            "rejected": "scores",
            "splits": {"validation": 0.02, "held_out": 0.1, "by": "image"},
            "duplicates": {"by": "fits", "cosine": 0.97},
            "pairs": {"by": "looks", "margin": 0.3},
        }
    )
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


def test_the_rule_of_each_step_has_its_candidates_and_what_is_kept():
    recipe = load_recipe(
        {
            **CHAIN,
            "generate": {
                "images_per_prompt": 2,
                "select": {"of": 4, "where": {"fits": {"min": 0.24}, "nsfw": {"max": 0.5}}, "best": "looks"},
            },
            "edit": {"instructions": ["a"], "images_per_instruction": 3},
        }
    )
    where = {"fits": Bounds(min=0.24), "nsfw": Bounds(max=0.5)}
    rules = rules_of(recipe)
    assert rules == {"generate": Rule(4, 2, where, "looks"), "edit": Rule(3, 3)}
    assert rules["generate"].scores == ("fits", "nsfw", "looks")


def test_without_of_a_rule_only_filters():
    recipe = load_recipe(generating(images_per_prompt=3, select={"where": {"fits": {"min": 0}}}))
    rule = rules_of(recipe)["generate"]
    assert (rule.of, rule.keep) == (3, 3)


def test_each_step_of_a_chain_has_its_own_rule():
    steps = [{"generate": {"select": {"of": 2}}}, {"edit": {"instructions": ["a"], "select": {"of": 3}}}]
    steps.append({"edit": {"instructions": ["b"]}})
    rules = rules_of(load_recipe({"prompts": "p", "steps": steps}))
    assert {name: rule.of for name, rule in rules.items()} == {"generate": 2, "edit": 3, "edit 2": 1}


def test_a_recipe_that_generates_nothing_judges_the_rows_own_images():
    recipe = load_recipe({**GIVEN, "given": {"select": {"where": {"fits": {"min": 0.2}}}}})
    assert rules_of(recipe) == {"given": Rule(1, 1, {"fits": Bounds(min=0.2)})}
    assert given_of(load_recipe(GIVEN)) is not None
    assert given_of(load_recipe(GENERATE)) is None


@pytest.mark.parametrize(
    "part", [{"duplicates": {}}, {"splits": {"test": 0.1}}, {"scorers": {"fits": SCORERS["fits"]}}]
)
def test_scorers_duplicates_and_splits_each_suffice_without_generate_and_edit(part):
    assert is_judged(load_recipe({"prompts": "p", **part}))


@pytest.mark.parametrize(
    "part",
    [
        {"scorers": {"fits": SCORERS["fits"]}},
        {"generate": {"select": {}}},
        {"edit": {"instructions": ["a"], "images_per_instruction": 2}},
        {"splits": {"test": 0.1}},
        {"duplicates": {}},
        {"rejected": "drop"},
    ],
)
def test_each_part_of_judging_makes_a_recipe_judged(part):
    assert is_judged(load_recipe({**GENERATE, **part}))


def test_a_recipe_without_judging_is_not_judged():
    assert not is_judged(load_recipe({**GENERATE, "edit": {"instructions": ["a"]}}))


def test_formulas_of_formulas_are_calculated_in_order_and_rounded_as_scores_are():
    scorers = {
        "total": {"kind": "formula", "text": "half + third"},
        "third": {"kind": "formula", "text": "fits / 3"},
        "half": {"kind": "formula", "text": "fits / 2"},
        "fits": SCORERS["fits"],
    }
    recipe = load_recipe(scoring(**scorers))
    formulas = formulas_in_order(recipe.scorers)
    assert list(formulas)[-1] == "total"
    assert apply_formulas(formulas, {"fits": 1.0}) == {"fits": 1.0, "half": 0.5, "third": 0.3333, "total": 0.8333}
    assert apply_formulas(formulas, {"fits": None})["total"] is None
    assert score_names(recipe.scorers) == ("total", "third", "half", "fits")


def test_a_scorer_says_what_it_looks_at_beside_the_image():
    scorers = load_recipe(CHAIN).scorers
    reads = {name: set(scorer.reads) for name, scorer in scorers.items()}
    assert (reads["fits"], reads["looks"], reads["sharp"]) == ({"text"}, set(), set())
    assert (reads["keeps"], reads["turns"]) == ({"source"}, {"text", "before", "source"})


def test_splits_are_sorted_by_name_and_train_is_the_first():
    splits = load_recipe({**GENERATE, "splits": {"validation": 0.2, "dev": 0.1}}).splits
    assert splits.fractions == {"dev": 0.1, "validation": 0.2}
    assert splits.names == ("train", "dev", "validation")


def test_a_scorer_and_a_range_can_be_set_by_their_dotted_names():
    overrides = {"scorers.fits.kind": "similarity", "scorers.fits.model": "x", "generate.select.where.fits.min": 0.2}
    recipe = load_recipe(GENERATE, overrides)
    assert recipe.generate.select.where == {"fits": Bounds(min=0.2)}


def test_an_old_recipe_without_these_fields_means_what_it_meant():
    recipe = load_recipe({**GENERATE, "edit": {"instructions": ["a"]}})
    fields = recipe.model_dump(mode="json")
    for name in ("scorers", "rejected", "splits", "duplicates", "pairs", "given"):
        del fields[name]
    del fields["generate"]["select"], fields["edit"]["select"], fields["edit"]["images_per_instruction"]
    assert load_recipe(fields) == recipe
