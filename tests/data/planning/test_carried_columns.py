"""A dataset that an earlier version began keeps its columns, whatever is added to its prompts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from imagemill.data.config.load import load_recipe
from imagemill.data.config.recipe import Recipe
from imagemill.data.dataset.carried.begun_with import PIN, begun_with, pin_columns
from imagemill.data.dataset.folder import Folder
from imagemill.data.errors import OutputError
from imagemill.data.planning.load_rows import load_rows
from imagemill.data.planning.loaded import Loaded
from imagemill.data.planning.plan import schema_of
from imagemill.data.planning.worklist import Worklist
from tests.conftest import ROOT

CASE = ROOT / "tests" / "old" / "text-to-image"
KINDS = {
    "deep": "json",
    "large": "int",
    "list": "json",
    "mixed": "json",
    "real": "float",
    "text": "str",
    "whole": "int",
    "yes": "bool",
}


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """The recipe of a dataset of version 0.1.0 with a carried column of each kind."""
    case = shutil.copytree(CASE, tmp_path / "case")
    fields = yaml.safe_load((case / "recipe.yaml").read_text())
    return load_recipe({**fields, "prompts": str(case / "prompts.jsonl"), "output": str(case / "dataset")})


def load(recipe: Recipe, tmp_path: Path, *more: dict[str, Any]) -> Loaded:
    with open(recipe.prompts_path, "a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in more)
    with Worklist.create(tmp_path / "plan.sqlite") as worklist:
        return load_rows(recipe, worklist)


def digest(recipe: Recipe, loaded: Loaded) -> str:
    return schema_of(recipe, loaded, lambda recipe: ()).digest()


def test_its_columns_keep_their_kinds(recipe: Recipe, tmp_path: Path):
    assert load(recipe, tmp_path).carried == KINDS


@pytest.mark.parametrize("is_pinned", [False, True], ids=["unpinned", "pinned"])
def test_rows_with_other_values_change_none_of_its_row_keys(recipe: Recipe, tmp_path: Path, is_pinned: bool):
    before = load(recipe, tmp_path)
    if is_pinned:
        pin_columns(Folder(recipe.output), schema_of(recipe, before, lambda recipe: ()), before.begun)
    odd = {"prompt": "a", "deep": 1, "large": 0.5, "list": "x", "mixed": [1], "real": "x", "text": 5, "whole": 2**70}
    after = load(recipe, tmp_path, {**odd, "yes": 1})
    assert after.carried == {**KINDS, "text": "mixed"}
    assert after.begun.other == "other_values"
    assert digest(recipe, after) == digest(recipe, before)


def test_a_text_column_is_known_from_one_of_json(recipe: Recipe, tmp_path: Path):
    file = Folder(recipe.output).data / "train-00000.parquet"
    table = pq.read_table(file)
    for name, texts, kind in (
        ("text", ["1", None, "[2]", None, None], "str"),
        ("text", ['"the"', None, None, None, '"first"'], "json"),
        ("mixed", [None, '"three"', "3", None, None], "json"),
    ):
        place = table.schema.get_field_index(name)
        shutil.rmtree(recipe.output, ignore_errors=True)
        shutil.copytree(CASE / "dataset", recipe.output)
        (Folder(recipe.output).manifest).unlink()
        Folder(recipe.output).journal.path.unlink(missing_ok=True)
        pq.write_table(table.set_column(place, table.schema.field(name), pa.array(texts)), file)
        assert load(recipe, tmp_path, {"prompt": "a", "text": 5}).begun.kinds[name] == kind


def test_a_float_that_is_not_finite_stays_the_null_that_it_was(recipe: Recipe, tmp_path: Path):
    load(recipe, tmp_path, {"prompt": "a", "real": float("nan")})
    with Worklist.open(tmp_path / "plan.sqlite") as worklist:
        assert [row.carried["real"] for row in worklist.rows() if row.prompt == "a"] == [None]


def test_a_column_without_a_value_is_not_added_to_it(recipe: Recipe, tmp_path: Path):
    assert "new" not in load(recipe, tmp_path, {"prompt": "a", "new": None}).carried


def test_an_entry_that_is_not_a_builds_is_an_error_that_says_what_to_do(recipe: Recipe, tmp_path: Path):
    folder = Folder(recipe.output)
    for wrong in (5, {"columns": {"a": 1}}, {"columns": {"a": ["a", "arrow:{}"]}, "other": None, "old": False}):
        folder.repin(PIN, wrong)
        with pytest.raises(OutputError, match=r"folder\.json' is damaged .*manifest\.json has the same entry"):
            begun_with(folder)
