"""Templates and sweeps in one build; growing them generates only what is new."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from imagemill.data.config.load import load_recipe
from imagemill.data.errors import RecipeError
from imagemill.tasks.build_context import resolve_models
from tests.conftest import ROOT, Build

RECIPES = ROOT / "data" / "recipes"


def test_growing_a_list_or_a_sweep_generates_only_what_is_new(build: Build, model: Path, tmp_path: Path):
    small = {"model": str(model), "width": 64, "height": 64, "batch_size": 4}
    fields = {
        "output": str(tmp_path / "out"),
        "generate": small,
        "template": {"text": "a {colour} fox", "values": {"colour": ["red", "blue"]}},
        "sweep": {"steps": [1], "seed": [1, 2]},
    }
    assert (build(fields)["generated"], build(fields)["planned"]) == (4, 0)
    grown = build(fields, {"template.values": {"colour": ["green", "red", "blue"]}, "sweep.steps": [2, 1]})
    assert (grown["rows"], grown["kept"], grown["generated"], grown["removed"]) == (12, 4, 8, 0)
    rows = [row for path in (tmp_path / "out/data").iterdir() for row in pq.read_table(path).to_pylist()]
    assert {(row["colour"], row["steps"], row["seed"]) for row in rows} == {
        (colour, steps, seed) for colour in ("red", "green", "blue") for steps in (1, 2) for seed in (1, 2)
    }
    assert len({row["sha256"] for row in rows}) == 12


@pytest.mark.parametrize(
    ("sweep", "words"),
    [
        (
            {"width": [64, 72]},
            "recipe.sweep.width has 72: the model 'random' generates sizes that are multiples of 16 pixels",
        ),
        (
            {"negative_prompt": ["blur"]},
            "recipe.sweep.negative_prompt is given, but the model 'random' makes no use of",
        ),
        (
            {"guidance_scale": [1, 2]},
            "recipe.sweep.guidance_scale is given, but the model 'random' makes no use of guidance",
        ),
    ],
)
def test_a_sweep_beyond_the_model_is_refused_before_anything_is_generated(model: Path, tmp_path: Path, sweep, words):
    fields = {"prompts": "p.jsonl", "output": str(tmp_path), "generate": {"model": str(model)}, "sweep": sweep}
    with pytest.raises(RecipeError) as caught:
        resolve_models(load_recipe(fields))
    assert str(caught.value).startswith(words)


def test_the_example_recipe_is_that_of_its_page():
    recipe = (RECIPES / "sweep.yaml").read_text()
    page = (RECIPES.parents[1] / "docs/topics/templates.md").read_text()
    assert yaml.safe_load(recipe) == yaml.safe_load(page.split("```yaml\n")[1].split("```")[0])
