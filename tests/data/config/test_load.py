"""User input becomes a recipe, or one clear message that names the field, its value and what is allowed."""

from pathlib import Path

import pytest

from imagemill.data.config.load import load_recipe, parse_assignment
from imagemill.data.config.recipe import Recipe
from imagemill.data.errors import RecipeError

GENERATE = {"prompts": "p.jsonl", "generate": {}}


def message(fields, **overrides):
    with pytest.raises(RecipeError) as caught:
        load_recipe(fields, overrides)
    return str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("width", 63, "recipe.generate.width is 63: it must be a whole number from 8 to 8192, a multiple of 8."),
        ("height", 0, "recipe.generate.height is 0: it must be a whole number from 8 to 8192, a multiple of 8."),
        ("steps", 1.5, "recipe.generate.steps is 1.5: it must be a whole number from 1 to 1000."),
        ("steps", True, "recipe.generate.steps is True: it must be a whole number from 1 to 1000."),
        ("guidance_scale", "x", "recipe.generate.guidance_scale is 'x': it must be a number from 0 to 100."),
        ("guidance_scale", float("nan"), "recipe.generate.guidance_scale is nan: it must be a number from 0 to 100."),
        (
            "seed",
            "random",
            "recipe.generate.seed is 'random': it must be a whole number from -1 to 18446744073709551615.",
        ),
        (
            "seed",
            2**64,
            "recipe.generate.seed is 18446744073709551616: it must be a whole number from -1 to 18446744073709551615.",
        ),
        ("images_per_prompt", 0, "recipe.generate.images_per_prompt is 0: it must be a whole number from 1 to 10000."),
        ("batch_size", 0, "recipe.generate.batch_size is 0: it must be a whole number from 1 to 1024, or 'auto'."),
        ("dtype", "fp8", "recipe.generate.dtype is 'fp8': input should be 'auto', 'float32', 'bfloat16' or 'float16'."),
        ("model", 5, "recipe.generate.model is 5: input should be a valid string. A catalog name, a folder with"),
        (
            "model",
            True,
            "recipe.generate.model is True: YAML reads yes, no, on and off as booleans; put the text in quotes.",
        ),
    ],
)
def test_an_invalid_value_names_the_field_the_value_and_what_is_allowed(field, value, expected):
    assert message({"prompts": "p.jsonl", "generate": {field: value}}).startswith(expected)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"generate": {}},
            "recipe.prompts is missing: The prompts: a file (.jsonl, .json, .csv, .tsv, .txt, .parquet, .arrow,",
        ),
        ({**GENERATE, "promts": 1}, "recipe.promts is not a field: did you mean 'prompts'? Known here: name, prompts,"),
        (
            {"prompts": "p", "generate": {"modl": "x"}},
            "recipe.generate.modl is not a field: did you mean 'model'? Known here: model, backend,",
        ),
        ({"prompts": "p", "edit": {"width": 8}}, "recipe.edit.width is not a field: Known here: model, backend,"),
        ({**GENERATE, "columns": {"promt": "x"}}, "recipe.columns.promt is not a field: did you mean 'prompt'?"),
        (
            {"prompts": "p", "generate": "bundled"},
            "recipe.generate is 'bundled': it must be a section, such as {model:",
        ),
        (
            {"prompts": "p", "generate": None},
            "recipe: nothing to generate: give a 'generate' section, an 'edit' section, or",
        ),
        ({**GENERATE, "image_format": "gif"}, "recipe.image_format is 'gif': input should be 'png', 'jpeg' or 'webp'."),
        ({**GENERATE, "quality": 101}, "recipe.quality is 101: it must be a whole number from 1 to 100."),
        ({**GENERATE, "shard_size": 0}, "recipe.shard_size is 0: it must be a whole number from 1 to 100000."),
        ({**GENERATE, "on_bad_row": "skip"}, "recipe.on_bad_row is 'skip': input should be 'set_aside' or 'stop'."),
        ({**GENERATE, "name": "a/b"}, "recipe.name is 'a/b', which does not fit: The dataset's name: letters, digits,"),
        ({"prompts": "p", "edit": {"instructions": ["a", " a"]}}, "recipe.edit: instructions lists 'a' twice: list"),
        ({"prompts": "p", "edit": {"instructions": ["a", ""]}}, "recipe.edit.instructions.1 is '': string should have"),
        ({**GENERATE, 1: "x"}, "recipe.1 is 1: keys should be strings."),
    ],
)
def test_an_invalid_recipe_has_one_clear_message(fields, expected):
    assert message(fields).startswith(expected)


def test_further_errors_are_counted():
    assert message({"prompts": "p", "generate": {"steps": 0, "seed": -2}}).endswith(" (1 more after this one.)")


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("generate.seed=7", ("generate.seed", 7)),
        (" edit.instructions = [a, b]", ("edit.instructions", ["a", "b"])),
        ("prompts=a=b.jsonl", ("prompts", "a=b.jsonl")),
        ("generate.width=", ("generate.width", None)),
        ("generate.negative_prompt='no'", ("generate.negative_prompt", "no")),
    ],
)
def test_an_assignment_is_a_dotted_field_and_a_yaml_value(text, parsed):
    assert parse_assignment(text) == parsed


@pytest.mark.parametrize("text", ["generate.seed", "=7", ""])
def test_an_assignment_without_field_or_value_is_refused(text):
    with pytest.raises(RecipeError) as caught:
        parse_assignment(text)
    assert str(caught.value) == f"--set {text!r} is not of the form field=value, for instance --set generate.seed=7."


def test_an_assignment_whose_value_is_not_yaml_is_refused():
    with pytest.raises(RecipeError, match=r"--set 'generate\.seed=\[1': the value is not valid YAML; put it in quotes"):
        parse_assignment("generate.seed=[1")


def test_overrides_take_precedence_add_sections_and_leave_the_source_unchanged():
    fields = {"prompts": "p.jsonl", "generate": {"seed": 1, "steps": 2}}
    recipe = load_recipe(fields, {"generate.seed": 7, "edit.instructions": ["a"], "name": "n"})
    assert (recipe.generate.seed, recipe.generate.steps) == (7, 2)
    assert (recipe.edit.instructions, recipe.name) == (["a"], "n")
    assert fields == {"prompts": "p.jsonl", "generate": {"seed": 1, "steps": 2}}


def test_an_override_of_a_recipe_object_is_validated_too():
    recipe = Recipe(prompts="p.jsonl", generate={})
    assert load_recipe(recipe, {"generate.seed": 7}).generate.seed == 7
    assert message(recipe, **{"generate.sed": 7}).startswith("recipe.generate.sed is not a field: did you mean 'seed'?")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"prompts: [", "is not valid YAML: line 2, column 1: did not find expected node content."),
        (b"\xff\xfe", "is not valid YAML: it is not UTF-8 (byte 1)."),
        (b"", "must be a mapping such as 'prompts: prompts.jsonl', not empty."),
        (b"- a", "must be a mapping such as 'prompts: prompts.jsonl', not a list of 1."),
        (b"!!python/object:os.system x", "is not valid YAML: line 1, column 1: could not determine a constructor for"),
    ],
)
def test_a_file_without_a_recipe_is_refused(tmp_path, content, expected):
    (tmp_path / "r.yaml").write_bytes(content)
    assert message(tmp_path / "r.yaml").startswith(f"the recipe {str(tmp_path / 'r.yaml')!r} {expected}")


def test_a_missing_recipe_file_is_refused():
    expected = "there is no recipe 'none.yaml': give the path of a YAML file, or the name of one that comes with"
    assert message("none.yaml").startswith(expected)


@pytest.mark.parametrize(
    ("fields", "name", "output"),
    [
        ({}, "p", "out/p"),
        ({"prompts": "a/my prompts.v2.tsv.gz"}, "my-prompts", "out/my-prompts"),
        ({"name": "n"}, "n", "out/n"),
        ({"output": "x/night 1/"}, "night-1", "x/night 1/"),
        ({"name": None, "output": " "}, "p", "out/p"),
        ({"prompts": ".jsonl"}, "dataset", "out/dataset"),
    ],
)
def test_name_and_output_default_to_each_other(fields, name, output):
    recipe = load_recipe({**GENERATE, **fields})
    assert (recipe.name, recipe.output) == (name, output)


def test_a_leading_tilde_is_the_home_folder():
    recipe = load_recipe({"prompts": "~/p.jsonl", "output": "~/out", "cache_dir": "~/hub", "generate": {}})
    assert recipe.prompts == str(Path.home() / "p.jsonl")
    assert (recipe.output, recipe.cache_dir) == (str(Path.home() / "out"), str(Path.home() / "hub"))


def test_blank_texts_count_as_absent():
    recipe = load_recipe({"prompts": "p", "cache_dir": "", "generate": {"negative_prompt": " ", "revision": ""}})
    assert (recipe.cache_dir, recipe.generate.negative_prompt, recipe.generate.revision) == (None, None, None)


def test_a_recipe_survives_a_round_trip_through_json():
    recipe = load_recipe({**GENERATE, "edit": {"instructions": ["a"]}})
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


def test_every_field_is_described():
    schema = Recipe.model_json_schema()
    sections = [schema, *schema["$defs"].values()]
    assert all(field["description"] for section in sections for field in section["properties"].values())


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"cache_dir": "hf_" + "a1B2" * 8}, "recipe.cache_dir contains a Hugging Face token"),
        ({"output": "s3://AKIAIOSFODNN7EXAMPLE@bucket/x"}, "recipe.output contains an AWS access key"),
        ({"output": "https://me:secret@host/x"}, "recipe.output contains a password in a URL"),
        ({"prompts": "https://host/p.jsonl?X-Amz-Signature=0123"}, "recipe.prompts contains a signed URL"),
        (
            {"edit": {"instructions": ["fine", "ghp_" + "a1" * 18]}},
            "recipe.edit.instructions.1 contains a GitHub token",
        ),
        ({"hf_" + "a1B2" * 8: 1}, "a field's name in recipe contains a Hugging Face token"),
    ],
)
def test_a_recipe_with_a_token_is_refused_without_repeating_it(fields, field):
    refusal = message({**GENERATE, **fields})
    assert refusal.startswith(field)
    assert not any(secret in refusal for secret in ("a1", "AKIA", "secret@", "0123"))
