"""Shards of a recipe that names no size: 64 rows, and more where a build would have too many shards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagemill.data.config.load import load_recipe
from imagemill.data.dataset.folder import Folder
from imagemill.data.planning.load_rows import load_rows
from imagemill.data.planning.plan import make_plan, schema_of
from imagemill.data.planning.worklist import Worklist
from imagemill.models.drawing.measure_registry import measures_of
from imagemill.tasks.build_context import resolve_models
from tests.conftest import write_prompts

ROWS = 200


def shards(folder: Path, **fields: Any) -> list[list[str]]:
    """The row keys of each shard of a plan of 200 rows that is in an empty folder."""
    prompts = folder / "prompts.jsonl"
    write_prompts(prompts, [f"number {number}" for number in range(ROWS)])
    recipe = load_recipe({"prompts": str(prompts), "output": str(folder / "out"), "generate": {}, **fields})
    facts = {step: spec.facts() for step, spec in resolve_models(recipe).items()}
    with Worklist.create(folder / "plan.sqlite") as worklist:
        schema = schema_of(recipe, load_rows(recipe, worklist), measures_of)
        plan = make_plan(recipe, worklist, Folder(recipe.output), schema, facts, {})
        found = [[row.row_key for row in worklist.shard(number)] for number in range(plan.shards)]
        assert worklist.shard(plan.shards) == []
    return found


def test_a_shard_has_64_rows(tmp_path: Path):
    assert [len(rows) for rows in shards(tmp_path)] == [64, 64, 64, 8]


def test_a_build_of_too_many_shards_gets_larger_ones_with_the_same_rows_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    small = shards(tmp_path)
    monkeypatch.setattr("imagemill.data.planning.plan.MAX_SHARDS", 3)
    large = shards(tmp_path)
    assert large == [small[0] + small[1], small[2] + small[3]]


def test_a_size_that_the_recipe_names_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("imagemill.data.planning.plan.MAX_SHARDS", 3)
    assert [len(rows) for rows in shards(tmp_path, shard_size=50)] == [50, 50, 50, 50]


def test_edits_of_one_generated_image_stay_in_one_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("imagemill.data.planning.plan.MAX_SHARDS", 3)
    instructions = [f"instruction {number}" for number in range(3)]
    large = shards(tmp_path, edit={"instructions": instructions})
    assert all(len(rows) % 3 == 0 for rows in large)
    assert sum(map(len, large)) == 3 * ROWS
