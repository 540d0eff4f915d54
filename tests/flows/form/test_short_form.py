"""The short form: the recipe that its fields make, and errors in the words of the form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagemill.data.config.recipe import Recipe
from imagemill.data.errors import RecipeError, UnknownModel
from imagemill.flows.form.short_form import ShortForm
from imagemill.flows.prefect_server.dataset_name import dataset_name
from imagemill.tasks.build_context import resolve_models

EDITS = {"prompts": "p.jsonl", "edit": {"model": "bundled"}}


def recipe(**fields: Any) -> Recipe:
    return ShortForm(**fields).load()


def test_prompts_alone_are_a_recipe_with_the_bundled_model():
    assert recipe(prompts="animals.txt") == Recipe.model_validate({"prompts": "animals.txt", "generate": {}})


def test_every_field_has_its_place_in_the_recipe():
    given = recipe(
        prompts="p.txt",
        model="bundled",
        width=64,
        height=32,
        images_per_prompt=2,
        instructions=["make it red"],
        seed=7,
        candidates=4,
        output="out/mine",
        overrides={"image_format": "webp"},
    )
    generate, edit = given.generate, given.edit
    assert (generate.model, generate.width, generate.height, generate.images_per_prompt) == ("bundled", 64, 32, 2)
    assert (edit.model, edit.instructions, generate.seed, edit.seed) == ("bundled", ["make it red"], 7, 7)
    assert (generate.select.of, generate.select.best, given.scorers["fits"].model) == (4, "fits", "bundled-clip")
    assert (given.output, given.name, given.image_format) == ("out/mine", "mine", "webp")


def test_fields_that_a_form_sends_empty_change_nothing():
    empty = dict.fromkeys(("model", "output", "recipe"), " ") | {"instructions": [], "overrides": {}, "width": None}
    assert recipe(prompts="p.txt", **empty) == recipe(prompts="p.txt")
    assert ShortForm(prompts="p.txt", seed=0, **empty).given() == {"prompts": "p.txt", "seed": 0}


def test_fields_override_a_base_recipe_and_overrides_both():
    base = {"prompts": "p.txt", "generate": {"aspect_ratio": "3:2", "seed": 1, "steps": 3}}
    made = recipe(recipe=base, width=64, seed=2, overrides={"generate.seed": 3})
    assert (made.generate.width, made.generate.aspect_ratio, made.generate.seed, made.generate.steps) == (
        64,
        None,
        3,
        3,
    )
    assert base["generate"]["seed"] == 1


def test_a_base_recipe_may_be_a_file_or_a_name(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("prompts: p.txt\ngenerate: {seed: 3}\n")
    assert recipe(recipe=str(tmp_path / "mine.yaml")).generate.seed == 3
    assert recipe(recipe="demo", candidates=5).generate.select.of == 5


def test_other_prompts_do_not_take_the_place_of_a_base_recipes_rows():
    assert recipe(recipe="demo").output == "out/demo"
    other = recipe(recipe="demo", prompts="mine/foxes.csv")
    assert (other.name, other.output, other.edit is not None) == ("foxes", "out/foxes", True)


def test_a_model_that_only_edits_works_on_the_rows_own_images():
    edits = recipe(prompts="p.jsonl", model="qwen-image-edit", instructions=["make it red"], images_per_prompt=2)
    assert edits.generate is None
    assert (edits.edit.model, edits.edit.images_per_instruction) == ("qwen-image-edit", 2)


def test_a_base_recipe_of_steps_has_its_fields_set_where_they_are():
    steps = [{"generate": {}}, {"edit": {"instructions": ["a"]}}]
    made = recipe(recipe={"prompts": "p.txt", "steps": steps}, width=64, seed=5, instructions=["b"])
    assert (made.steps[0].generate.width, made.steps[1].edit.instructions) == (64, ["b"])
    assert (made.steps[0].generate.seed, made.steps[1].edit.seed) == (5, 5)


@pytest.mark.parametrize(
    ("fields", "best", "scorer"),
    [
        ({}, "fits", "bundled-clip"),
        ({"model": "flux.1-schnell"}, "fits", "clip-vit-large-patch14"),
        ({"recipe": {"scorers": {"sharp": {"kind": "pixels", "measure": "sharpness"}}, "generate": {}}}, "sharp", None),
    ],
)
def test_candidates_are_chosen_by_the_recipes_scorer_or_by_how_well_they_fit(
    fields: dict[str, Any], best: str, scorer: str | None
):
    made = recipe(prompts="p.txt", candidates=4, **fields)
    assert (made.generate.select.of, made.generate.select.best) == (4, best)
    assert getattr(made.scorers[best], "model", None) == scorer


def test_candidates_of_images_that_are_edited_need_no_target_prompt():
    assert recipe(prompts="p.txt", candidates=4).scorers["fits"].text is None
    assert recipe(prompts="p.txt", candidates=4, instructions=["make it red"]).scorers["fits"].text == "prompt"


def test_candidates_leave_a_recipes_own_rule_as_it_is():
    base = {"generate": {"select": {"of": 2, "where": {"fits": {"min": 0.2}}, "draw": "until_enough"}}}
    base["scorers"] = {"fits": {"kind": "similarity", "model": "bundled-clip"}}
    select = recipe(prompts="p.txt", recipe=base, candidates=6).generate.select
    assert (select.of, select.best, select.draw) == (6, None, "until_enough")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "prompts is missing: "),
        ({"width": 100}, "width is 100: it must be a whole number from 8 to 8192, a multiple of 8"),
        ({"seed": "x"}, "seed is 'x': it must be a whole number"),
        ({"candidates": 0}, "candidates is 0: it must be a whole number from 1"),
        ({"images_per_prompt": 0}, "images_per_prompt is 0: it must be"),
        ({"instructions": ["a", "a"]}, "instructions lists 'a' twice"),
        ({"candidates": 2, "images_per_prompt": 3}, "candidates is 2 and images_per_prompt is 3: candidates is how"),
        ({"recipe": "none-such"}, "there is no recipe 'none-such'"),
        ({"recipe": 5}, "recipe is 5: it must be a mapping"),
        ({"recipe": EDITS, "width": 64}, "width is given, but nothing is generated"),
        ({"recipe": EDITS, "candidates": 4}, "candidates is given, but no scorer says which edit is the best"),
        ({"model": "flux.1-schnell", "instructions": ["a"]}, "instructions is given, but model is 'flux.1-schnell'"),
        ({"overrides": {"generate.width": 3}}, "recipe.generate.width is 3"),
    ],
    ids=str,
)
def test_an_error_names_the_field_as_the_form_does(fields: dict[str, Any], message: str):
    with pytest.raises(RecipeError) as error:
        recipe(**({"prompts": "p.txt"} if fields else {}), **fields)
    assert str(error.value).startswith(message)


def test_two_scorers_leave_open_which_of_them_chooses():
    sharp, fits = {"kind": "pixels", "measure": "sharpness"}, {"kind": "similarity", "model": "bundled-clip"}
    base = {"prompts": "p.txt", "generate": {}, "scorers": {"sharp": sharp, "fits": fits}}
    with pytest.raises(RecipeError, match=r"candidates is given, and the recipe has the scorers 'sharp', 'fits'"):
        recipe(recipe=base, candidates=4)
    assert recipe(recipe=base, candidates=4, overrides={"generate.select.best": "fits"}).generate.select.of == 4


def test_an_error_that_is_found_later_names_the_forms_field_too():
    form = ShortForm(prompts="p.txt", model="none-such")
    with pytest.raises(UnknownModel) as error:
        resolve_models(form.load())
    explained = form.explain(error.value)
    assert type(explained) is UnknownModel
    assert str(explained).startswith("model is 'none-such'")


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({"prompts": "data/foxes.jsonl"}, "foxes"),
        ({"prompts": "data/foxes.jsonl", "output": "out/mine.1/"}, "mine.1"),
        ({"prompts": "p.txt", "overrides": {"name": "named"}}, "named"),
        ({"recipe": "data/recipes/demo.yaml"}, "demo"),
        ({"recipe": {"name": "inside"}, "prompts": ""}, "inside"),
        ({"prompts": "s3://bucket/a b?.csv"}, None),
    ],
)
def test_a_queued_run_has_its_datasets_name(parameters: dict[str, Any], name: str | None):
    assert dataset_name(parameters) == name
