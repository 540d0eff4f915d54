"""A recipe's parts: a plain text is a source, and only names that a pipeline has are known."""

from __future__ import annotations

import pytest

from imagemill.data.config.load import load_recipe
from imagemill.data.config.parts import Part
from imagemill.data.errors import RecipeError


def test_a_plain_text_is_a_parts_source():
    recipe = load_recipe({"prompts": "p.txt", "output": "out", "generate": {"parts": {"vae": "studio/vae"}}})
    assert recipe.generate.parts == {"vae": Part(source="studio/vae")}


@pytest.mark.parametrize("parts", ["", None, {}])
def test_no_parts_are_none(parts: object):
    recipe = load_recipe({"prompts": "p.txt", "output": "out", "generate": {"parts": parts}})
    assert recipe.generate.parts == {}


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ({"scheduler": "x"}, r"generate\.parts\.scheduler"),
        ({"vae": {"source": ""}}, r"generate\.parts\.vae\.source"),
        ({"vae": {"sourc": "x"}}, r"generate\.parts\.vae\.sourc"),
        ("studio/vae", r"generate\.parts"),
    ],
)
def test_a_fault_names_the_field(parts: object, field: str):
    with pytest.raises(RecipeError, match=field):
        load_recipe({"prompts": "p.txt", "output": "out", "generate": {"parts": parts}})
