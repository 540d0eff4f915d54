"""YAML that a user writes is read as usual, or refused in bounded time and memory, whatever it is built to do."""

import resource
import subprocess
import sys
from itertools import pairwise

import pytest
import yaml

from imagemill.data.config.load import load_recipe, parse_assignment
from imagemill.data.errors import RecipeError
from imagemill.data.storage.yaml_file import BadYaml, check_size, parse_yaml
from imagemill.models.catalog.entries import read_catalog

LEVELS = "abcdefghi"


def nine_of_nine(first: str, one_level: str) -> str:
    """Nine levels, each of nine aliases of the one before."""
    lines = [f"a: &a {first}"]
    for before, level in pairwise(LEVELS):
        aliases = ", ".join([f"*{before}"] * 9)
        lines.append(f"{level}: &{level} {one_level % aliases}")
    return "\n".join(lines)


BOMBS = {
    "nine aliases of nine": (nine_of_nine("[x, x]", "[%s]"), "over 200,000 values"),
    "merges of merges": (nine_of_nine("{x: 1}", "{<<: [%s]}"), "over 200,000 values"),
    "mappings of aliases": (nine_of_nine("{x: 1}", "{k: [%s]}"), "over 200,000 values"),
    "a long text, many times": (f"a: &a {'x' * 100_000}\nb: [{', '.join(['*a'] * 1000)}]", "16 MiB of text"),
    "lists in lists": ("[" * 20_000, "nested over 64 deep"),
    "mappings in mappings": ("{a: " * 20_000, "nested over 64 deep"),
    "blocks in blocks": ("- " * 20_000 + "x", "nested over 64 deep"),
    "a list in itself": ("prompts: &a [*a]", "inside of what it stands for"),
    "a mapping in itself": ("&a {prompts: *a}", "inside of what it stands for"),
    "a merge of itself": ("&a {<<: *a}", "inside of what it stands for"),
    "many values": ("prompts: [" + "x," * 1_000_000 + "]", "over 200,000 values"),
    "many fields": ("\n".join(f"k{number}: 1" for number in range(300_000)), "over 200,000 values"),
    "a long file": ("prompts: " + "x" * 9_000_000, "over 8 MiB"),
    "base 60": ("seed: 1" + ":1" * 2_000_000, "over 1,000 digits"),
    "base 60, not whole": ("seed: 1" + ":1" * 2_000_000 + ".5", "over 1,000 digits"),
    "digits": ("seed: " + "9" * 1_000_000, "over 1,000 digits"),
    "a long key": ("? " + "k" * 1_000_000 + "\n: 1", "<a name of 1,000,000 characters> is not a field"),
    "an impossible date": ("seed: 2024-99-99", "does not fit its tag"),
    "a wrong tag": ("seed: !!int x", "does not fit its tag"),
    "a list as a key": ("? [a]\n: 1", "unhashable key"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_recipe_that_explodes_is_one_error(bomb, tmp_path):
    text, why = BOMBS[bomb]
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(RecipeError, match=why):
        load_recipe(tmp_path / "r.yaml")


@pytest.mark.parametrize("bomb", [bomb for bomb in BOMBS if bomb != "a long key"])
def test_a_models_file_that_explodes_is_one_error(bomb, tmp_path):
    text, why = BOMBS[bomb]
    (tmp_path / "models.yaml").write_text(text)
    with pytest.raises(RecipeError, match=why):
        read_catalog(str(tmp_path / "models.yaml"))


@pytest.mark.parametrize("bomb", ["lists in lists", "a list in itself", "base 60"])
def test_an_assignment_that_explodes_is_one_error(bomb):
    with pytest.raises(RecipeError, match=r"^--set '.{1,90}': the value is not valid YAML"):
        parse_assignment(f"seed={BOMBS[bomb][0].partition(': ')[2] or BOMBS[bomb][0]}")


@pytest.mark.slow
def test_all_bombs_together_take_little_processor_time_and_memory(tmp_path):
    for number, (text, _) in enumerate(BOMBS.values()):
        (tmp_path / f"{number}.yaml").write_text(text)
    code = (
        "import sys\nfrom pathlib import Path\nfrom imagemill.data.config.load import load_recipe\n"
        "from imagemill.data.errors import RecipeError\n"
        "for path in sorted(Path(sys.argv[1]).glob('*.yaml')):\n"
        "    try: load_recipe(path)\n"
        "    except RecipeError: continue\n"
        "    sys.exit(f'{path} is a recipe')\n"
    )

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
        resource.setrlimit(resource.RLIMIT_AS, (2 * 2**30, 2 * 2**30))

    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], preexec_fn=limit, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_small_anchors_and_merge_keys_work_as_usual(tmp_path):
    text = """
prompts: p.jsonl
generate: &step {steps: 4, seed: &seed 7}
edit: {<<: *step, seed: *seed, instructions: [a, b]}
"""
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(BadYaml, match="over 1,000 digits"):
        parse_yaml("1" * 1001)
    recipe = load_recipe(tmp_path / "r.yaml")
    assert (recipe.generate.steps, recipe.edit.steps, recipe.edit.seed) == (4, 4, 7)


@pytest.mark.parametrize(
    "text",
    ["1", "0x1F", "1:30", "1_000", "1.5e3", ".inf", "yes", "~", "2024-01-02", "[a, {b: c}]", "'x'", "!!str 1", "a: é"],
)
def test_values_are_what_the_safe_loader_makes_of_them(text):
    assert parse_yaml(text) == yaml.safe_load(text)


def cyclic() -> dict:
    fields: dict = {}
    fields["generate"] = fields
    return fields


def deep() -> list:
    value: list = []
    for _ in range(5000):
        value = [value]
    return value


def wide() -> list:
    value = ["x"] * 9
    for _ in range(9):
        value = [value] * 9
    return value


@pytest.mark.parametrize(
    "fields",
    [
        cyclic(),
        {"prompts": deep()},
        {"prompts": wide()},
        {"prompts": "x" * 20_000_000},
        {"template": {"values": wide()}},
    ],
    ids=["in itself", "deep", "wide", "long", "values"],
)
def test_a_recipe_of_python_objects_that_explodes_is_one_error(fields):
    with pytest.raises(RecipeError, match="the recipe is too large"):
        load_recipe(fields)


def test_an_override_of_any_depth_is_one_error():
    with pytest.raises(RecipeError, match="nested over 64 deep"):
        load_recipe({"prompts": "p"}, {"a." * 30_000 + "b": 1})


def test_a_number_of_any_length_is_one_error():
    with pytest.raises(RecipeError, match="about 6,001 digits"):
        load_recipe({"prompts": "p", "generate": {"width": 10**6000}})


def test_a_mapping_is_checked_without_recursion():
    check_size({"a": [{"b": (1, "x")}]})
