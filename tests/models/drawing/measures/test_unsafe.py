"""Safety checkers: a recipe asks for one, and only a model that ships one accepts that."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagemill.data.config.load import load_recipe
from imagemill.data.config.steps import Generate
from imagemill.data.errors import RecipeError
from imagemill.models.catalog.resolve import resolve


def test_a_model_that_ships_no_checker_is_refused_with_what_to_do(model: Path):
    with pytest.raises(RecipeError) as refused:
        resolve("generate", Generate(model=str(model), safety="flag"))
    for words in ("recipe.generate.safety is 'flag'", "ships no", "set it to 'off'", "Stable Diffusion 1.5"):
        assert words in str(refused.value)


def test_a_bare_off_in_yaml_is_off(tmp_path: Path):
    path = tmp_path / "recipe.yaml"
    path.write_text("prompts: a.txt\nname: a\ngenerate: {safety: off}\n")
    assert load_recipe(path).generate.safety == "off"
    with pytest.raises(RecipeError, match=r"generate\.safety is True"):
        load_recipe(path, {"generate.safety": True})
