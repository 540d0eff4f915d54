"""The models of a recipe's first step: what they are called, and which of them rows may have."""

import pytest

from imagemill.data.config.load import load_recipe
from imagemill.data.config.step_models import base_step, model_links, row_models, steps_of_models
from imagemill.data.errors import RecipeError

SWEPT = {"prompts": "p", "generate": {"model": "org/a", "revision": "v1", "steps": 3}}


def models(recipe):
    return [(link.name, link.section.model) for link in model_links(recipe)]


def test_a_recipe_without_a_swept_model_has_its_steps_own():
    recipe = load_recipe({**SWEPT, "edit": {"instructions": ["x"]}})
    assert models(recipe) == [("generate", "org/a"), ("edit", "bundled")]
    assert steps_of_models(recipe) == {None: "generate", "a": "generate"}


def test_each_swept_model_is_a_step_with_the_sections_settings_and_no_revision():
    recipe = load_recipe({**SWEPT, "sweep": {"model": ["org/a", "/models/b/"]}})
    own, other = model_links(recipe)
    assert models(recipe) == [("generate", "org/a"), ("generate: b", "/models/b/")]
    assert (own.section.revision, other.section.revision, other.section.steps) == ("v1", None, 3)


def test_the_sections_model_is_left_out_where_no_row_can_have_it():
    sweep = {"model": ["org/b", "org/c"]}
    assert models(load_recipe({**SWEPT, "sweep": sweep})) == [("generate: b", "org/b"), ("generate: c", "org/c")]
    named = load_recipe({**SWEPT, "sweep": sweep, "columns": {"model": "m"}})
    assert models(named)[-1] == ("generate", "org/a")


def test_only_the_first_step_is_swept():
    fields = {"prompts": "p", "edit": {"instructions": ["x"]}, "sweep": {"model": ["org/b"]}}
    assert models(load_recipe(fields)) == [("edit: b", "org/b")]
    assert models(load_recipe({**fields, "generate": {}})) == [("generate: b", "org/b"), ("edit", "bundled")]


def test_models_of_one_name_are_numbered():
    recipe = load_recipe({**SWEPT, "sweep": {"model": ["/x/b", "/y/b", r"C:\z\b"]}})
    assert row_models(recipe) == {"/x/b": "b", "/y/b": "b 2", r"C:\z\b": "b 3", "org/a": "a"}


def test_a_moved_folder_has_the_same_name():
    before, after = (load_recipe({**SWEPT, "sweep": {"model": [f"{place}/b"]}}) for place in ("/old", "./new"))
    assert [link.name for link in model_links(before)] == [link.name for link in model_links(after)]


def test_the_step_of_a_models_step_is_the_recipes():
    assert [base_step(step) for step in ("generate: org", "edit 2", "edit: a: b")] == ["generate", "edit 2", "edit"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({**SWEPT, "sweep": {"model": ["a", "a"]}}, "recipe.sweep: model lists 'a' twice: list each once."),
        (
            {"prompts": "p", "splits": {"test": 0.1}, "sweep": {"model": ["a"]}},
            "recipe: 'sweep' has settings for images to generate, but the recipe generates nothing",
        ),
        (
            {"prompts": "p", "splits": {"test": 0.1}, "columns": {"model": "m"}},
            "recipe: columns.model is 'm', but the recipe generates nothing",
        ),
    ],
)
def test_models_for_nothing_are_refused(fields, expected):
    with pytest.raises(RecipeError) as caught:
        load_recipe(fields)
    assert str(caught.value).startswith(expected)
