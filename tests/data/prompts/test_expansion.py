"""Templates and sweeps expand a record into rows, and rows keep their ids when a list grows."""

from __future__ import annotations

from typing import Any

import pytest

from imagemill.data.config.load import load_recipe
from imagemill.data.errors import InputError, RecipeError
from imagemill.data.prompts.expansion import Variations

COLOURS, ANIMALS = ["red", "green", "blue"], ["fox", "owl"]


def variants(fields: dict[str, Any] | None = None, **recipe: Any) -> list[dict[str, Any]]:
    """The variants of one record."""
    loaded = load_recipe({"generate": {}, **({"prompts": "p.jsonl"} if fields else {}), **recipe})
    return [{**made.fields, **made.settings} for made in Variations(loaded).of(fields or {})]


def prompts(template: dict[str, Any], fields: dict[str, Any] | None = None) -> list[str]:
    return [variant["prompt"] for variant in variants(fields, template=template)]


def test_a_template_makes_every_combination_and_keeps_its_values():
    made = variants(template={"text": "a {colour} {animal}", "values": {"colour": COLOURS, "animal": ANIMALS}})
    assert [variant["prompt"] for variant in made] == [
        f"a {colour} {animal}" for colour in COLOURS for animal in ANIMALS
    ]
    assert made[1] == {"prompt": "a red owl", "colour": "red", "animal": "owl"}


def test_several_texts_plain_braces_numbers_and_an_instruction():
    template = {
        "text": ["{n} of {{these}}", "{n}, and {n} more"],
        "values": {"n": [1, 2.5]},
        "edit_prompt": "make it {n} times as large",
    }
    made = variants(template=template)
    assert [variant["prompt"] for variant in made] == [
        "1 of {these}",
        "2.5 of {these}",
        "1, and 1 more",
        "2.5, and 2.5 more",
    ]
    assert made[1]["edit_prompt"] == "make it 2.5 times as large"


def test_columns_of_the_prompts_file_fill_the_template(load):
    template = {"text": "{prompt}, {look} at {place.name}", "values": {"look": ["old", "new"]}}
    rows = [
        {"prompt": "a house", "place.name": "sea", "id": "h", "note": 1},
        {"prompt": "a car"},
        {"prompt": "", "place.name": 7},
        {"prompt": "a hut", "place.name": 7, "conversations": [{"role": "user", "content": "not this"}]},
    ]
    found = load(rows, template=template)
    assert [row.prompt for row in found.rows] == [
        "a house, old at sea",
        "a house, new at sea",
        "a hut, old at 7",
        "a hut, new at 7",
    ]
    assert [row.id[:2] for row in found.rows[:2]] == ["h-", "h-"]
    assert found.rows[0].carried == {"note": 1, "look": "old", "place.name": "sea"}
    assert [fault.line for fault in found.faults] == [2, 3]
    assert found.faults[0].reason == (
        "the template has {place.name}, for which the row has no text or number (it has 'prompt') and "
        "recipe.template.values no list"
    )


def test_a_sweep_generates_every_row_with_each_combination_instead_of_its_own_settings(load):
    rows = [{"prompt": "a fox", "Steps": 50, "id": "fox"}, {"prompt": "an owl", "guidance_scale": 9}]
    found = load(rows, sweep={"steps": [2, 4], "seed": [1, 2]})
    settings = [(row.prompt, row.steps, row.seed, row.guidance_scale) for row in found.rows]
    assert settings == [
        (prompt, steps, seed, guidance)
        for prompt, guidance in (("a fox", None), ("an owl", 9))
        for seed in (1, 2)
        for steps in (2, 4)
    ]
    assert len({row.id for row in found.rows}) == 8
    assert all(row.carried == {} for row in found.rows)


@pytest.mark.parametrize("own_id", [True, False])
def test_a_row_keeps_its_id_when_a_list_grows_at_any_place(load, own_id: bool):
    rows = [{"what": "fox", **({"id": "7"} if own_id else {})}]

    def ids(colours: list[str], steps: list[int]) -> dict[tuple[Any, ...], str]:
        template = {"text": "a {colour} {what}", "values": {"colour": colours}}
        found = load(rows, template=template, sweep={"steps": steps})
        return {(row.prompt, row.steps): row.id for row in found.rows}

    small, large = ids(["red"], [2]), ids(["green", "red", "blue"], [1, 2])
    assert len(large) == 6
    assert small.items() <= large.items()


@pytest.mark.parametrize("digits", [3, 7])
def test_a_larger_sample_keeps_the_smaller_one_and_a_longer_list_most_of_it(digits: int):
    """Seven digits are ten million combinations, more than MAX_RANKED."""
    names = [f"d{number}" for number in range(digits)]
    values = {name: [*"0123456789"] for name in names}
    text = "".join(f"{{{name}}}" for name in names)

    def sample(size: int, **more: Any) -> set[str]:
        found = prompts({"text": text, "values": values, "sample": size, **more})
        assert len(found) == len(set(found)) == size
        return set(found)

    small = sample(200)
    assert sample(200) == small
    assert small < sample(300)
    assert sample(200, sample_seed=1) != small
    values[names[0]] = ["x", *values[names[0]]]
    grown = sample(200)
    assert 0.8 * 200 < len(grown & small) < 200
    assert {prompt for prompt in grown - small if not prompt.startswith("x")} == set() or digits == 3


def test_a_sample_of_everything_is_everything():
    template = {"text": "{a}{b}", "values": {"a": ["1", "2"], "b": ["3", "4"]}, "sample": 4}
    assert prompts(template) == ["13", "14", "23", "24"]


def test_a_changed_label_leaves_a_rows_sample_as_it_is():
    template = {"text": "a {colour} {what}", "values": {"colour": [*"abcdefgh"]}, "sample": 3}
    assert prompts(template, {"what": "fox", "note": "x"}) == prompts(template, {"what": "fox", "note": "y"})
    colours = [[prompt[2] for prompt in prompts(template, {"what": what})] for what in ("fox", "owl")]
    assert colours[0] != colours[1]


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (
            {"text": "a {x}"},
            "recipe: the template has {x}, but template.values has no list of that name, and no prompts",
        ),
        (
            {"text": "a {x", "values": {"x": ["b"]}},
            "recipe.template: 'a {x': expected '}' before end of string; literal",
        ),
        ({"text": "a {}"}, "recipe.template: 'a {}' has braces without a plain name"),
        ({"text": "a {x!r}", "values": {"x": ["b"]}}, "recipe.template: 'a {x!r}' has braces without a plain name"),
        ({"text": "a", "values": {"x": ["b"]}}, "recipe.template: values has 'x', which no text uses: write {x}"),
        ({"text": "{x}", "values": {"x": []}}, "recipe.template: values.x is an empty list"),
        ({"text": "{x}", "values": {"x": ["b", "b"]}}, "recipe.template: values.x lists 'b' twice"),
        ({"text": "{x}", "values": {"x": [True]}}, "recipe.template.values.x.0 is True: YAML reads yes, no, on and"),
        ({"text": []}, "recipe.template.text is []"),
        ({"text": "a", "sample": 0}, "recipe.template.sample is 0: it must be a whole number from 1 to 10000000."),
    ],
)
def test_an_invalid_template_has_one_clear_message(template, words):
    with pytest.raises(RecipeError) as caught:
        load_recipe({"generate": {}, "template": template})
    assert str(caught.value).startswith(words)


def test_a_template_with_names_that_no_row_has_is_one_clear_message(load):
    with pytest.raises(InputError, match=r"has no good row \(the first of 1: line 1, the template has \{animal\}"):
        load([{"prompt": "a"}], template={"text": "an {animal}"})


MODELS = {"generate": {"model": "org/a"}, "sweep": {"model": ["org/a", "/models/b"]}}


def models_of(outcome) -> list[tuple[str | None, str | None]]:
    return [(row.prompt, row.model) for row in outcome.rows]


def test_each_row_is_generated_with_every_swept_model(load):
    found = load([{"prompt": "x", "id": "r"}, {"prompt": "y"}], **MODELS)
    assert models_of(found) == [("x", "a"), ("x", "b"), ("y", "a"), ("y", "b")]
    assert len({row.id for row in found.rows}) == 4
    assert all(row.id.startswith("r-") for row in found.rows[:2])


def test_a_longer_list_of_models_keeps_the_ids_of_the_others(load):
    rows = [{"prompt": "x"}, {"prompt": "y", "id": "r"}]
    before = {row.id for row in load(rows, **MODELS).rows}
    moved = {"generate": {"model": "org/a"}, "sweep": {"model": ["org/c", "/elsewhere/b", "org/a"]}}
    assert before < {row.id for row in load(rows, **moved).rows}


def test_a_row_may_choose_one_of_the_recipes_models(load):
    rows = [{"prompt": name, "Painter": value} for name, value in zip("wxyz", ["b", " /models/b ", "org/a", ""])]
    found = load(rows, columns={"model": "painter"}, **MODELS)
    assert models_of(found) == [("w", "b"), ("x", "b"), ("y", "a"), ("z", "a"), ("z", "b")]
    assert not any(row.carried for row in found.rows)


def test_a_row_that_chooses_a_model_has_the_id_that_it_has_in_the_sweep(load):
    swept = load([{"prompt": "x", "id": "r"}, {"prompt": "y"}], **MODELS)
    chosen = load([{"prompt": "x", "id": "r", "m": "b"}, {"prompt": "y", "m": "a"}], columns={"model": "m"}, **MODELS)
    assert {row.id for row in chosen.rows} < {row.id for row in swept.rows}


def test_without_a_swept_model_a_row_may_only_name_the_steps_own_and_keeps_its_id(load):
    rows = [{"prompt": "x", "id": "r", "m": "org/a"}, {"prompt": "y", "m": "org/b"}]
    found = load(rows, columns={"model": "m"}, generate={"model": "org/a"})
    assert [(row.id, row.model) for row in found.rows] == [("r", "a")]
    assert found.reason == ("m is 'org/b', a model that the recipe does not name: allowed are a; add it to sweep.model")


@pytest.mark.parametrize("value", ["c", "org/c", "/models", 5, ["a"], {"model": "a"}, True])
def test_any_other_model_sets_the_row_aside_once_with_the_models_allowed(load, value):
    sweep = {**MODELS["sweep"], "steps": [1, 2]}
    found = load([{"prompt": "x", "m": value}, {"prompt": "y"}], **{**MODELS, "sweep": sweep}, columns={"model": "m"})
    assert len(found.rows) == 4
    assert found.reason.endswith("a model that the recipe does not name: allowed are a, b; add it to sweep.model")


def test_no_role_reads_a_model_by_default(load):
    found = load([{"prompt": "x", "model": "b"}], **MODELS)
    assert [(row.model, row.carried) for row in found.rows] == [("a", {"model": "b"}), ("b", {"model": "b"})]
    plain = load([{"prompt": "x", "model": "b"}])
    assert (plain.row.model, plain.row.carried) == (None, {"model": "b"})
