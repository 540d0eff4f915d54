"""A plan counts what its user may not have meant, and loses no row by it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagemill.data.config.load import load_recipe
from imagemill.data.dataset.folder import Folder
from imagemill.data.planning.load_rows import load_rows
from imagemill.data.planning.plan import make_plan, schema_of
from imagemill.data.planning.totals import Plan
from imagemill.data.planning.worklist import Worklist
from imagemill.data.records import RowPlan
from imagemill.models.drawing.measure_registry import measures_of
from imagemill.tasks.build_context import resolve_models
from tests.conftest import write_prompts
from tests.data.conftest import Outcome


def plan(tmp_path: Path, rows: list[dict[str, Any]], **fields: Any) -> tuple[Plan, list[RowPlan], list[str]]:
    """The plan of a recipe of the bundled model, its rows, and the reasons of those that are set aside."""
    write_prompts(tmp_path / "p.jsonl", rows)
    generate = {"images_per_prompt": 2}
    recipe = load_recipe(
        {"prompts": str(tmp_path / "p.jsonl"), "output": str(tmp_path / "out"), "generate": generate, **fields}
    )
    facts = {step: spec.facts() for step, spec in resolve_models(recipe).items()}
    with Worklist.create(tmp_path / "plan.sqlite") as worklist:
        schema = schema_of(recipe, load_rows(recipe, worklist), measures_of)
        made = make_plan(recipe, worklist, Folder(recipe.output), schema, facts, {})
        return made, worklist.shard(0), [fault.reason for fault in worklist.faults()]


def test_a_negative_prompt_that_the_model_cannot_use_is_counted_and_its_row_generated(tmp_path: Path):
    rows = [{"prompt": "a", "id": "a", "negative_prompt": "blurry"}, {"prompt": "b", "negative_prompt": "b"}]
    made, planned, reasons = plan(tmp_path, rows)
    assert made.notes == ("2 rows have a negative prompt, of which the model makes no use: generated without it.",)
    assert (len(planned), reasons) == (4, [])
    _, without, _ = plan(tmp_path, [{"prompt": "a", "id": "a"}])
    assert [row.final for row in planned[:2]] == [row.final for row in without]


def test_the_reason_of_a_size_that_the_model_cannot_generate_names_the_switch(tmp_path: Path):
    rows = [{"prompt": "a", "width": 72, "height": 64, "guidance_scale": 3}, {"prompt": "b"}]
    _, planned, (reason,) = plan(tmp_path, rows)
    assert len(planned) == 2
    assert ": null" in reason
    assert reason.endswith(" unread")


def test_ids_that_pandas_made_floats_are_noted(tmp_path: Path):
    made, _, _ = plan(tmp_path, [{"prompt": "a", "id": 1}, {"prompt": "b", "id": 1.0}, {"prompt": "c", "id": 2.0}])
    (note,) = made.notes
    assert note.startswith("The ids '1' and '1.0' are two: pandas writes whole numbers so")
    assert plan(tmp_path, [{"prompt": "a", "id": "1.0"}, {"prompt": "b", "id": "v.0"}])[0].notes == ()


@pytest.mark.parametrize(("before", "now"), [("7", "7.0"), ("7.0", "7")])
def test_ids_are_compared_with_those_that_the_dataset_has(
    load: Callable[..., Outcome], tmp_path: Path, before: str, now: str
):
    row = load([{"prompt": "a"}]).row
    with Worklist.create(tmp_path / "plan.sqlite") as worklist:
        worklist.add_row(now, row)
        worklist.add_row("8.0", row)
        worklist.add_finished("f", ["a", "b"], [before, "8.0"])
        worklist.index_finished()
        worklist.mark_wanted(["b"])
        assert worklist.find_float_ids() == ("7", "7.0")


def test_seeds_of_64_bits_count_up_and_on_from_0(tmp_path: Path):
    _, planned, _ = plan(tmp_path, [{"prompt": "a", "seed": 2**64 - 1}, {"prompt": "b", "seed": 2**32 - 1}])
    # A row with a seed of 32 bits keeps the keys that it had when there were no larger ones.
    assert [row.final.seed for row in planned] == [2**64 - 1, 0, 2**32 - 1, 0]


def test_a_dataset_that_was_begun_with_seeds_of_63_bits_sets_larger_ones_aside(tmp_path: Path, begun_before: None):
    rows = [{"prompt": "a", "seed": 2**63 - 1}, {"prompt": "b", "seed": 2**63 - 2}]
    _, planned, (reason,) = plan(tmp_path, rows)
    assert [row.final.seed for row in planned] == [2**63 - 2, 2**63 - 1]
    assert reason.startswith("seed is 9223372036854775807: this dataset was begun with seeds up to")
