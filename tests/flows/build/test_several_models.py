"""Several models in one recipe: each row has the pixels of its model, and each model is loaded once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagemill.data.config.load import load_recipe
from imagemill.data.dataset.reader import read_rows
from imagemill.data.errors import RecipeError
from imagemill.flows.plan_dataset import plan_dataset
from imagemill.tasks.build_context import resolve_models
from tests.conftest import ROOT, Build, write_prompts
from tests.flows.build.test_build_dataset import rows_of

FIRST, SECOND = (str(ROOT / "models" / "bundled" / name) for name in ("model", "model-2"))


@pytest.fixture
def swept(tmp_path: Path) -> dict[str, Any]:
    """The fields of a recipe: three prompts with the two sets of weights of the bundled model."""
    write_prompts(tmp_path / "prompts.jsonl", ["a red circle", "a blue square", "a green triangle"])
    return {
        "name": "two",
        "prompts": str(tmp_path / "prompts.jsonl"),
        "output": str(tmp_path / "out"),
        "generate": {"width": 64, "height": 64, "steps": 2, "batch_size": 2},
        "sweep": {"model": [FIRST, SECOND], "seed": [7]},
        "shard_size": 2,
    }


def pixels(output: str | Path) -> dict[tuple[str, str], str]:
    return {(row["prompt"], row["model"]): row["sha256"] for row in rows_of(output)}


def test_a_sweep_over_models_gives_each_row_the_pixels_that_its_model_alone_gives(build: Build, swept: dict, tmp_path):
    figures = build(swept)
    assert (figures["rows"], figures["generated"], figures["set_aside"]) == (6, 6, 0)
    both = pixels(swept["output"])
    assert len(set(both.values())) == 6
    for model in (FIRST, SECOND):
        alone = {**swept, "output": str(tmp_path / Path(model).name), "generate": {**swept["generate"], "model": model}}
        build({**alone, "sweep": {"seed": [7]}})
        assert pixels(alone["output"]).items() < both.items()
    manifest = json.loads((Path(swept["output"]) / "manifest.json").read_text())
    assert {step: model["name"] for step, model in manifest["models"].items()} == {
        "generate: model": "model",
        "generate: model-2": "model-2",
    }
    assert str(ROOT) not in json.dumps(manifest)
    card = (Path(swept["output"]) / "README.md").read_text()
    assert card.count("\n- generate: `model") == 2
    assert build(swept)["generated"] == 0


def test_a_model_added_to_the_sweep_generates_its_rows_alone(build: Build, swept: dict, tmp_path: Path):
    assert build(swept, {"sweep.model": [SECOND]})["generated"] == 3
    before = rows_of(swept["output"])
    # The folder has moved meanwhile.
    shutil.copytree(SECOND, tmp_path / "moved" / "model-2")
    grown = build(swept, {"sweep.model": [FIRST, str(tmp_path / "moved" / "model-2")]})
    assert (grown["kept"], grown["generated"], grown["removed"]) == (3, 3, 0)
    after = rows_of(swept["output"])
    assert [row for row in after if row["model"] == "model-2"] == before


def test_the_shards_of_a_model_follow_each_other_so_that_it_is_loaded_once(server: str, swept: dict):
    from imagemill.flows.build_dataset import build_dataset
    from imagemill.tasks.runner.gpu_task_runner import GpuTaskRunner

    runner = GpuTaskRunner(workers=1)
    recipe = load_recipe(swept, {"shard_size": 1, "max_resident": 1, "on_bad_row": "stop"})
    figures = build_dataset.with_options(task_runner=runner)(recipe)
    assert [load["model"] for load in figures["loads"]] == ["model", "model-2"]
    assert figures["model_moves"] == 0


def test_regenerated_rows_are_generated_with_their_own_model(build: Build, swept: dict, report: Callable, cluster: str):
    build(swept)
    code, found = report("verify", swept["output"], "--regenerate", "6", "--cluster", cluster)
    assert (code, found["regenerated"], found["bit_equal"], found["differing"]) == (0, 6, 6, {})


def test_a_row_chooses_its_model_and_any_other_is_set_aside(build: Build, swept: dict):
    rows = [("a red circle", "model"), ("a blue square", "model-2"), ("a red square", "org/other")]
    write_prompts(Path(swept["prompts"]), [{"prompt": prompt, "by": model} for prompt, model in rows])
    figures = build(swept, {"columns.model": "by", "max_set_aside": 1.0, "generate.model": FIRST})
    assert (figures["rows"], figures["generated"], figures["set_aside"]) == (2, 2, 1)
    assert [(row["prompt"], row["model"]) for row in rows_of(swept["output"])] == rows[:2]
    (line,) = (Path(swept["output"]) / "set_aside.jsonl").read_text().splitlines()
    assert json.loads(line)["reason"] == (
        "by is 'org/other', a model that the recipe does not name: allowed are model, model-2; add it to sweep.model"
    )


def test_the_first_edit_of_given_images_is_swept_and_a_later_step_is_not(build: Build, swept: dict, tmp_path: Path):
    build(swept, {"sweep.model": [SECOND], "output": str(tmp_path / "source")})
    images = [row["image"]["bytes"] for row in rows_of(tmp_path / "source")][:2]
    for number, content in enumerate(images):
        (tmp_path / f"{number}.png").write_bytes(content)
    write_prompts(Path(swept["prompts"]), [{"images": [str(tmp_path / f"{number}.png")]} for number in range(2)])
    section = {"steps": 1, "batch_size": 2}
    steps = [
        {"edit": {**section, "instructions": ["make it red", "make it blue"], "multi_turn": True}},
        {"edit": {**section, "instructions": ["make it green"], "model": FIRST}},
    ]
    fields = {name: value for name, value in swept.items() if name != "generate"}
    figures = build({**fields, "steps": steps})
    assert (figures["rows"], figures["generated"]) == (12, 12)
    made = sorted((row["turn_index"], row["edit_prompt"], row["model"]) for row in rows_of(swept["output"]))
    turns = [(1, "make it red"), (2, "make it blue")]
    swept_turns = [(*turn, model) for turn in turns for model in ("model", "model-2") for _ in range(2)]
    assert made == [*swept_turns, *[(3, "make it green", "model")] * 4]


def test_a_chain_edits_the_images_of_all_models(build: Build, swept: dict, report: Callable, cluster: str):
    edit = {"steps": 1, "batch_size": 2, "instructions": ["make it red"], "model": FIRST}
    figures = build({**swept, "edit": edit})
    assert (figures["rows"], figures["generated"]) == (6, 12)
    rows = rows_of(swept["output"])
    assert sorted({(row["model"], row["edit_model"]) for row in rows}) == [("model", "model"), ("model-2", "model")]
    assert len({row["input_sha256"] for row in rows}) == 6
    code, found = report("verify", swept["output"], "--regenerate", "6", "--cluster", cluster)
    assert (code, found["bit_equal"], found["differing"]) == (0, 6, {})


def test_a_plan_counts_the_images_of_each_model(swept: dict):
    figures = plan_dataset(load_recipe(swept))
    assert (figures["draw"], figures["new"]) == ({"model": 3, "model-2": 3}, 6)


def test_what_a_swept_model_cannot_do_is_refused_with_its_place_in_the_recipe(swept: dict):
    with pytest.raises(RecipeError) as caught:
        resolve_models(load_recipe(swept, {"sweep.model": [FIRST, "no/such folder"]}))
    assert "no/such folder" in str(caught.value)
    assert str(caught.value).endswith("(With the model of recipe.sweep.model.1, 'no/such folder'.)")
    with pytest.raises(RecipeError, match=r"recipe\.sweep\.width has 72: the model 'model' generates sizes that are"):
        resolve_models(load_recipe(swept, {"sweep.width": [72]}))


SHARP = {"scorers": {"sharp": {"kind": "pixels", "measure": "sharpness"}}}


def test_each_models_candidates_are_chosen_among_themselves_and_make_pairs_with_the_others(build: Build, swept: dict):
    fields = {**swept, **SHARP, "pairs": {"by": "sharp", "where": "any", "most": 100}}
    fields["generate"] = {**swept["generate"], "select": {"of": 2, "best": "sharp"}}
    figures = build(fields)
    assert (figures["rows"], figures["generated"]) == (6, 12)
    kept, rejected = rows_of(swept["output"]), table_rows(swept["output"], "rejected")
    assert [len(rows) for rows in (kept, rejected)] == [6, 6]
    best = {(row["prompt"], row["model"]): row["score_sharp"] for row in kept}
    assert all(row["score_sharp"] <= best[row["prompt"], row["model"]] for row in rejected)
    pairs = table_rows(swept["output"], "pairs")
    assert any(pair["model_0"] != pair["model_1"] for pair in pairs)
    again = build(fields)
    assert (again["generated"], again["scored"]) == (0, 0)
    # A further model leaves the choices of the others as they are.
    one = build({**fields, "sweep": {"model": [FIRST], "seed": [7]}}, {"on_removed": "keep"})
    assert (one["rows"], one["generated"]) == (6, 0)


def test_the_edits_of_each_model_are_chosen_among_themselves(build: Build, swept: dict, tmp_path: Path):
    build(swept, {"sweep.model": [SECOND], "output": str(tmp_path / "source")})
    (tmp_path / "0.png").write_bytes(rows_of(tmp_path / "source")[0]["image"]["bytes"])
    write_prompts(Path(swept["prompts"]), [{"images": [str(tmp_path / "0.png")]}])
    edit = {"steps": 1, "instructions": ["make it red", "make it blue"], "multi_turn": True}
    fields = {name: value for name, value in swept.items() if name != "generate"}
    fields = {**fields, **SHARP, "edit": {**edit, "select": {"of": 2, "best": "sharp"}}}
    plan = plan_dataset(load_recipe(fields))
    # Each model has two turns of two candidates, of which those of the first are certain.
    assert (plan["draw"], plan["judging"]["generate_at_least"]) == ({"model": 4, "model-2": 4}, 4)
    figures = build(fields)
    assert (figures["rows"], figures["generated"]) == (4, 8)
    assert len(table_rows(swept["output"], "rejected")) == 4


def table_rows(output: str | Path, area: str) -> list[dict[str, Any]]:
    return [row for path in sorted(Path(output).glob(f"{area}/*.parquet")) for row in read_rows(path)]
