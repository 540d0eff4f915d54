"""Every shipped recipe that needs no server of a model is built as it is, and its images show what their texts say."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from benchmarks.judge import read
from imagemill.models.bundled.scenes import Scene
from imagemill.models.bundled.wording import edited, scene_of
from tests.conftest import ROOT, Build

RECIPES = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / "data" / "recipes").glob("*.yaml")}
JUDGED = {"best-of-4", "curate-a-folder", "curated-edits", "instruct-pix2pix", "preferences"}
"""Built in test_judged_recipes.py."""

WORDS = {name for name, recipe in RECIPES.items() if "llm" in recipe}
"""Built in test_word_recipes.py."""

OFFLINE = sorted(
    name for name, recipe in RECIPES.items() if "api" not in recipe.get("generate", {}) and name not in JUDGED | WORDS
)

FAULTY = 0.12
"""Share of images that may show something else: the bundled model is right in nine of ten (its README)."""


def scene(image: dict[str, Any]) -> Scene:
    return read(Image.open(io.BytesIO(image["bytes"]))).scene


def differences(found: Scene, expected: Scene) -> set[str]:
    return {name for name in Scene.__dataclass_fields__ if getattr(found, name) != getattr(expected, name)}


def fault(row: dict[str, Any]) -> set[str]:
    """What an image shows otherwise than its text says."""
    if "image" in row:
        return differences(scene(row["image"]), scene_of(row["prompt"]))
    before, after = scene(row["input_image"]), scene(row["edited_image"])
    wrong = differences(after, edited(before, row["edit_prompt"]))
    return wrong | (differences(before, scene_of(row["prompt"])) if row["prompt"] else set())


@pytest.mark.slow
@pytest.mark.parametrize("name", OFFLINE)
def test_a_shipped_recipe_shows_what_its_texts_say(build: Build, tmp_path: Path, name: str):
    recipe = RECIPES[name] | {"output": str(tmp_path / "out"), "name": name}
    if "prompts" in recipe:
        recipe["prompts"] = str(ROOT / recipe["prompts"])
    figures = build(recipe)
    rows = [
        row for file in sorted((tmp_path / "out" / "data").glob("*.parquet")) for row in pq.read_table(file).to_pylist()
    ]
    assert figures["set_aside"] == 0
    assert len(rows) == figures["rows"] > 0
    wrong = {row.get("edit_prompt") or row["prompt"]: found for row in rows if (found := fault(row))}
    assert len(wrong) <= FAULTY * len(rows), wrong


def test_all_recipes_but_that_for_an_images_api_are_built():
    assert set(RECIPES) - set(OFFLINE) == {"images-api", *JUDGED, *WORDS}
    assert len(OFFLINE) >= 8
