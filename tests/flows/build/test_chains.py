"""Chains of several steps and edits of several turns: one row per turn, each from the image of the previous one."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageColor

from imagemill.data.config.chain import chain_of
from imagemill.data.config.load import load_recipe
from imagemill.data.dataset.parquet import write_rows
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.dataset.sheet.contact_sheet import contact_sheet
from imagemill.data.errors import RecipeError
from imagemill.data.images.codec import Encoding, decode_image, encode_image
from imagemill.data.planning.load_rows import load_rows
from imagemill.data.planning.plan import make_plan
from imagemill.data.planning.worklist import Worklist
from imagemill.data.records import Failure
from imagemill.flows.verify_dataset import verify_dataset
from imagemill.tasks.build_context import make_build, resolve_models
from imagemill.tasks.runner.gpu_task_runner import GpuTaskRunner
from tests.flows.build.test_draw_once import make_blank


def table_of(fields) -> pa.Table:
    return pa.concat_tables(pq.read_table(path) for path in sorted(Path(fields["output"], "data").iterdir()))


def rows_of(fields) -> list[dict]:
    return table_of(fields).sort_by([("id", "ascending"), ("turn_index", "ascending")]).to_pylist()


@pytest.fixture
def chain(fields):
    """Two prompts, each generated, edited twice over, and then edited by a second edit step."""
    generate, edit = fields.pop("generate"), fields.pop("edit")
    Path(fields["prompts"]).write_text('{"id": "fox", "prompt": "a fox"}\n{"id": "ring", "prompt": "a ring"}\n')
    second = {"edit": {**edit, "instructions": ["put it on a table"], "seed": 5}}
    fields["steps"] = [{"generate": generate}, {"edit": {**edit, "instructions": ["redder", "bluer"]}}, second]
    return fields


def test_every_edit_of_a_chain_is_a_row_that_starts_from_the_previous_image(build, chain):
    figures = build(chain)
    rows = rows_of(chain)
    assert figures["generated"] == 2 * (1 + 2 + 2)
    assert [(row["turn_index"], row["edit_prompt"]) for row in rows if row["id"] == "fox"] == [
        (1, "redder"),
        (1, "bluer"),
        (2, "put it on a table"),
        (2, "put it on a table"),
    ]
    first = {row["image_key"]: row for row in rows if row["turn_index"] == 1}
    for row in rows:
        if row["turn_index"] == 2:
            before = first[row["input_key"]]
            assert row["input_image"] == before["edited_image"]
            assert (row["input_sha256"], row["seed"]) == (before["sha256"], before["seed"])
            assert row["edited_image"]["bytes"] != row["input_image"]["bytes"]


def test_a_chain_of_two_steps_equals_the_short_form(build, fields):
    build(fields)
    steps = {key: value for key, value in fields.items() if key not in ("generate", "edit")}
    steps["steps"] = [{"generate": fields["generate"]}, {"edit": fields["edit"]}]
    figures = build(steps)
    assert (figures["generated"], figures["kept"]) == (0, 4)


def test_an_added_step_generates_only_its_own_images(build, chain):
    whole, chain["steps"] = chain["steps"], chain["steps"][:2]
    build(chain)
    chain["steps"] = whole
    figures = build(chain)
    assert (figures["generated"], figures["rows"]) == (4, 8)
    assert build(chain)["generated"] == 0


def test_every_turn_of_a_conversation_starts_from_the_previous_turns_image(build, fields, cluster):
    fields.pop("generate")
    fields["edit"] |= {"instructions": [], "multi_turn": True}
    folder = Path(fields["prompts"]).parent
    Image.effect_noise((64, 64), 90).convert("RGB").save(folder / "a.png")
    talk = [{"role": "user", "content": text} for text in ("redder", "now bluer", "now bluer")]

    def write_turns(turns: int) -> None:
        rows = [
            {"id": "a", "images": "a.png", "conversations": talk[:turns]},
            {"id": "b", "images": "a.png", "edit_prompt": "redder"},
        ]
        Path(fields["prompts"]).write_text("".join(json.dumps(row) + "\n" for row in rows))

    write_turns(2)
    assert build(fields)["generated"] == 3
    write_turns(3)
    # Only the new turn is generated: its source image is restored from the dataset.
    assert build(fields)["generated"] == 1
    *turns, alone = rows_of(fields)
    assert [row["turn_index"] for row in turns] == [1, 2, 3]
    assert turns[0]["input_image"]["bytes"] == (folder / "a.png").read_bytes()
    assert [row["input_image"] for row in turns[1:]] == [row["edited_image"] for row in turns[:-1]]
    assert alone["turn_index"] == 1
    flow = verify_dataset.with_options(task_runner=GpuTaskRunner(address=cluster))
    assert flow(fields["output"], regenerate=4)["bit_equal"] == 4


def test_a_turn_that_fails_costs_the_turns_after_it_and_none_before(build, chain):
    blank = Path(chain["output"]).parent / "blank"
    make_blank(Path(chain["steps"][0]["generate"]["model"]), blank)
    chain["steps"][1]["edit"]["instructions"] = ["redder"]
    third = {"edit": {**chain["steps"][2]["edit"], "instructions": ["larger"]}}
    chain["steps"].append(third)
    # The middle step generates a single colour for every prompt, which the check refuses.
    chain["steps"][2] = {"edit": {**chain["steps"][2]["edit"], "model": str(blank)}}
    figures = build(chain, {"max_set_aside": 1.0})
    assert (figures["rows"], figures["set_aside"]) == (2, 4)
    assert [row["turn_index"] for row in rows_of(chain)] == [1, 1]
    faults = [json.loads(line) for line in Path(chain["output"], "set_aside.jsonl").read_text().splitlines()]
    assert {(fault["stage"], fault["reason"]) for fault in faults} == {("edit 2", "the image is of one colour")}


def test_an_image_that_fails_leaves_the_jobs_of_later_turns(chain, tmp_path):
    recipe = load_recipe(chain)
    models = resolve_models(recipe)
    with Worklist.create(tmp_path / "plan.sqlite") as worklist:
        build = make_build(recipe, models, load_rows(recipe, worklist))
        make_plan(recipe, worklist, build.folder, build.schema, build.facts, {})
        plans = worklist.shard(0)
    assert list(build.turns(plans)) == [("generate", 1), ("edit", 1), ("edit 2", 1)]
    redder = build.job("edit", 1, plans, {}).drawings[0]
    assert len(build.job("edit 2", 1, plans, {}).drawings) == 2
    (other,) = build.job("edit 2", 1, plans, {redder.key: Failure("bad")}).drawings
    assert other.source != redder.key
    assert build.job("edit 2", 1, plans, {redder.source: Failure("bad")}).drawings == ()


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([{"edit": {}}, {"generate": {}}], "recipe: steps.1 generates, but a chain generates first and then edits."),
        ([{"edit": {}}, {"edit": {}}], "recipe: the chain's edit number 2 has no 'instructions': a row's own are for"),
        ([{}], "recipe.steps.0: a step is either {generate: {...}} or {edit: {...}}."),
        ([{"edit": {"modl": "x"}}], "recipe.steps.0.edit.modl is not a field: did you mean 'model'?"),
    ],
)
def test_an_invalid_chain_is_one_clear_message(steps, message):
    with pytest.raises(RecipeError) as error:
        load_recipe({"prompts": "p.jsonl", "steps": steps})
    assert str(error.value).startswith(message)


def test_a_field_of_a_step_can_be_set_by_its_index(chain):
    recipe = load_recipe(chain, {"steps.2.edit.seed": 9})
    assert [link.section.seed for link in chain_of(recipe)] == [0, 0, 9]
    with pytest.raises(RecipeError, match="'3' is not a place in a list of 3, which counts from 0"):
        load_recipe(chain, {"steps.3.edit.seed": 9})


def test_the_contact_sheet_shows_every_turn(tmp_path):
    schema = DatasetSchema(chained=False, edits=True, encoding=Encoding("png"), carried={}, has_turns=True)
    colours = ["red", "lime", "blue", "yellow"]
    content = {name: encode_image(Image.new("RGB", (64, 64), name), schema.encoding, "") for name in colours}
    rows = [
        {"edit_prompt": after, "turn_index": turn, "row_key": after}
        | {"input_image": {"bytes": content[before], "path": ""}, "edited_image": {"bytes": content[after], "path": ""}}
        for turn, (before, after) in enumerate(pairwise(colours), 1)
    ]
    write_rows(tmp_path / "a.parquet", schema, rows)
    sheet = decode_image(contact_sheet([tmp_path / "a.parquet"]), "sheet")
    large = [colour for count, colour in sheet.getcolors(sheet.width * sheet.height) if count > 160 * 160 // 2]
    for name in colours:
        expected = ImageColor.getrgb(name)
        assert any(max(abs(a - b) for a, b in zip(expected, colour, strict=True)) < 8 for colour in large), name
