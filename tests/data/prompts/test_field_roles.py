"""Fields get their roles by name, by path, or by a name that everybody uses for what the recipe needs."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data.web_site import png

SHOT = {"images": "images/red.png"}


@pytest.mark.parametrize("name", ["text", "caption", "TEXT", "Caption"])
def test_a_prompt_is_recognised_by_the_names_that_everybody_uses(load, name):
    row = load([{name: "a red circle", "note": "x"}]).row
    assert (row.prompt, row.carried) == ("a red circle", {"note": "x"})
    assert row.id == load([{"prompt": "a red circle"}]).row.id


@pytest.mark.parametrize("name", ["image", "img", "URL", "url", "file_name"])
def test_an_image_to_edit_is_recognised_too(load, image, name):
    row = load([{name: "images/red.png", "instruction": "make it blue"}], edit={}).row
    assert (row.image, row.edit_prompts, row.carried) == (str(image), ("make it blue",), {})


def test_an_image_in_parquet_is_recognised_by_such_a_name_and_another_binary_column_is_not_read(load, tmp_path):
    content = [{"bytes": png("red"), "path": "red.png"}]
    pq.write_table(pa.table({"image": content, "raw": [b"x"], "text": ["make it blue"]}), tmp_path / "p.parquet")
    row = load(None, "p.parquet", edit={}).row
    assert (row.edit_prompts, row.carried) == (("make it blue",), {})
    pq.write_table(pa.table({"image": content, "images": content, "edit_prompt": ["a"]}), tmp_path / "p.parquet")
    assert load(None, "p.parquet", edit={}).row.carried == {}


def test_a_row_with_the_roles_own_name_is_read_as_ever(load, image):
    row = load([{"prompt": "a", "text": "b", "caption": "c", "messages": [1], "instruction": "d", "URL": "e"}]).row
    assert (row.prompt, set(row.carried)) == ("a", {"text", "caption", "messages", "instruction", "URL"})
    row = load([{**SHOT, "prompt": "a", "instruction": "b", "image": "c", "messages": "d"}], edit={}).row
    assert (row.edit_prompts, set(row.carried)) == (("a",), {"instruction", "image", "messages"})
    assert set(load([{**SHOT, "text": "b"}], edit={"instructions": ["a"]}).row.carried) == {"text"}


def test_what_a_step_does_not_need_is_carried(load):
    assert load([{"prompt": "a", "image": "b.png"}]).row.carried == {"image": "b.png"}


def test_two_such_names_are_an_error_that_names_both(load, image):
    found = load([{"text": "a", "caption": "b"}, {"text": "c"}])
    assert found.reason == (
        "no prompt: 'text' and 'caption' could each be it; write columns: {prompt: text}, or name another"
    )
    found = load([{"text": "a", "messages": []}, {"text": "c"}])
    assert "'text' and 'messages' could each be it" in found.reason
    found = load([{"image": "a", "URL": "b", "edit_prompt": "c"}, {**SHOT, "edit_prompt": "c"}], edit={})
    assert "no image: 'image' and 'URL' could each be it; write columns: {images: image}" in found.reason
    found = load([{**SHOT, "messages": [], "instruction": "b"}, {**SHOT, "instruction": "c"}], edit={})
    assert "write columns: {conversations: messages}" in found.reason


def test_a_caption_is_no_instruction_but_a_prompt_to_generate_from(load, image):
    rows = [{**SHOT, "caption": "a red field"}]
    found = load([*rows, {**SHOT, "edit_prompt": "b"}], edit={})
    assert found.reason.startswith("no edit instruction")
    assert load(rows, edit={"task": "image-to-image"}).row.edit_prompts == ("a red field",)


def test_a_row_whose_prompt_is_empty_does_not_get_another_columns_text(load, tmp_path):
    found = load("prompt,text\na,b\n,c\n", "p.csv")
    assert (found.row.prompt, found.row.carried) == ("a", {"text": "b"})
    assert found.reason.startswith("no prompt: the row has neither 'prompt' nor")
    pq.write_table(pa.table({"prompt": ["a", None], "text": ["b", "c"]}), tmp_path / "p.parquet")
    assert load(None, "p.parquet").row.prompt == "a"


def test_a_name_that_the_recipe_gives_is_the_only_one(load):
    found = load([{"text": "a"}, {"title": "b"}], columns={"prompt": "title"})
    assert (found.row.prompt, found.faults[0].line) == ("b", 1)


def test_a_nested_field_is_named_by_its_path_and_the_rest_is_carried(load, image):
    body = {"model": "m", "prompt": "a red circle"}
    row = load([{"custom_id": "request-1", "body": body}], columns={"prompt": "body.prompt", "id": "custom_id"}).row
    assert (row.id, row.prompt, row.carried) == ("request-1", "a red circle", {"body": {"model": "m"}})
    row = load([{"meta": {"a": {"b": "x"}}}], columns={"prompt": "meta.a.b"}).row
    assert (row.prompt, row.carried) == ("x", {})
    columns = {"conversations": "body.messages", "seed": "body.seed"}
    row = load([{"body": {"messages": [{"role": "user", "content": "x"}], "seed": 5}}], columns=columns).row
    assert (row.prompt, row.seed, row.carried) == ("x", 5, {})
    row = load(
        [{"turns": [{"image": "images/red.png"}], "edit_prompt": "b"}], edit={}, columns={"images": "turns.0.image"}
    )
    assert row.row.image == str(image)


def test_a_field_whose_name_has_a_dot_comes_before_a_path(load, tmp_path):
    rows = [{"a.b": "whole", "a": {"b": "inner"}}, {"a": {"b": "inner"}}]
    assert [row.prompt for row in load(rows, columns={"prompt": "a.b"}).rows] == ["whole", "inner"]
    table = pa.table({"a": [{"image": png("red"), "n": 1}], "edit_prompt": ["x"]})
    pq.write_table(table, tmp_path / "p.parquet")
    row = load(None, "p.parquet", edit={}, columns={"images": "a.image"}).row
    assert row.carried == {"a": {"n": 1}}


def test_a_path_that_leads_nowhere_costs_its_row(load):
    rows = [{"body": {"prompt": "a"}}, {"body": {}}, {"body": "text"}, {"body": {"prompt": 5}}, {}]
    found = load(rows, columns={"prompt": "body.prompt"})
    assert [row.prompt for row in found.rows] == ["a"]
    assert [fault.line for fault in found.faults] == [2, 3, 4, 5]
    assert found.faults[0].reason == "the prompt is empty ('body.prompt')"


def test_ids_are_stripped_and_what_pandas_makes_of_a_missing_one_is_none(load):
    rows = ['{"prompt": "a", "id": NaN}', '{"prompt": "b", "id": NaN}', {"prompt": "c", "id": " 1 "}]
    found = load(rows)
    assert ([len(row.id) for row in found.rows], found.rows[2].id) == ([16, 16, 1], "1")
    assert [len(row.id) for row in load("id,prompt\nnan,a\nNaN,b\n", "p.csv").rows] == [16, 16]
    assert load([{"prompt": "a", "id": "nan"}]).row.id == "nan"


def test_ids_stay_as_they_are_in_a_dataset_that_was_begun_with_them(load, begun_before):
    found = load(['{"prompt": "a", "id": NaN}', {"prompt": "c", "id": " 1 "}])
    assert [row.id for row in found.rows] == ["nan", " 1 "]


def test_ids_are_not_read_if_the_recipe_says_so(load):
    row = load([{"prompt": "a", "id": "x"}], columns={"id": None}).row
    assert (len(row.id), row.carried) == (16, {"id": "x"})
