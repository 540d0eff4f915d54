"""A row's own settings: read by their names, under another name, or not at all."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imagemill.data.config.columns import SETTINGS
from imagemill.data.errors import RecipeError
from imagemill.data.prompts.row_settings import RowSettings

LAION = {"URL": "http://a", "TEXT": "a red circle", "WIDTH": 500, "HEIGHT": 333, "similarity": 0.3}


def test_the_size_of_another_image_is_carried_if_the_recipe_reads_none(load):
    found = load([LAION], columns={"prompt": "TEXT", "width": None, "height": None})
    assert (found.row.width, found.row.height) == (None, None)
    assert found.row.carried == {name: LAION[name] for name in ("URL", "WIDTH", "HEIGHT", "similarity")}
    # The settings of a row decide its id, carried columns do not.
    assert found.row.id == load([{"prompt": "a red circle"}]).row.id


def test_the_reason_of_a_bad_setting_names_the_line_that_leaves_it_unread(load):
    found = load([LAION, {"TEXT": "b"}])
    assert found.reason == (
        "width ('WIDTH') is 500: input should be a multiple of 8; "
        "write columns: {width: null, height: null} to leave them unread"
    )
    (fault,) = load([{"prompt": "a", "steps": ["cut", "cook"]}, {"prompt": "b"}]).faults
    assert fault.reason.endswith("; write columns: {steps: null} to leave it unread")


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_can_be_switched_off_and_have_another_name(load, setting):
    value = "blur" if setting == "negative_prompt" else 64
    row = {"prompt": "a", setting: [1, 2], "other": value}
    assert load([row], columns={setting: None}).row.carried == {setting: [1, 2], "other": value}
    found = load([row], columns={setting: "other"}).row
    assert (getattr(found, setting), found.carried) == (value, {setting: [1, 2]})


def test_a_swept_setting_leaves_a_column_alone_that_the_recipe_does_not_read(load):
    sweep = {"width": [64, 72]}
    rows = load([{"prompt": "a", "width": 333}], columns={"width": None}, sweep=sweep).rows
    assert [(row.width, row.carried) for row in rows] == [(64, {"width": 333}), (72, {"width": 333})]
    rows = load([{"prompt": "a", "w": 333, "width": 5}], columns={"width": "w"}, sweep=sweep).rows
    assert [(row.width, row.carried) for row in rows] == [(64, {"width": 5}), (72, {"width": 5})]


@pytest.mark.parametrize("seed", [0, 804822466654819, 2**53 + 1, 2**63, 2**64 - 1])
def test_a_seed_has_64_bits_in_every_format(load, tmp_path, seed):
    pq.write_table(pa.table({"prompt": ["a"], "seed": pa.array([seed], pa.uint64())}), tmp_path / "p.parquet")
    found = [load([{"prompt": "a", "seed": seed}]), load(f"prompt,seed\na,{seed}\n", "p.csv"), load(None, "p.parquet")]
    assert [outcome.row.seed for outcome in found] == [seed] * 3


@pytest.mark.parametrize("seed", [-1, "-1", -1.0, "-1.0", " -1 "])
def test_the_seed_minus_one_is_as_none(load, seed):
    row = load([{"prompt": "a", "seed": seed}]).row
    assert row.seed is None
    assert row.id == load([{"prompt": "a"}]).row.id


def test_a_recipe_takes_seeds_of_64_bits(load):
    generate = {"generate": {"seed": 2**64 - 1}}
    assert load([{"prompt": "a"}], **generate, sweep={"seed": [2**64 - 1, 1]}).rows[0].seed == 2**64 - 1
    with pytest.raises(RecipeError, match="18446744073709551615"):
        load([{"prompt": "a"}], generate={"seed": 2**64})


def test_the_columns_of_settings_are_those_that_a_row_has():
    assert tuple(RowSettings.model_fields) == SETTINGS
