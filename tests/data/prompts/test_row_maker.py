"""Records become rows: fields are matched by name, bad values are refused, other columns are carried."""

import json
import os

import pytest
from PIL import Image

from imagemill.data.errors import BuildFailed, InputError

OFF = "; write columns: {{{}: null}} to leave it unread"
SIZE_OFF = "; write columns: {width: null, height: null} to leave them unread"


def user(*texts):
    return [{"role": "user", "content": text} for text in texts]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": ""}, "the prompt is empty ('prompt')"),
        ({"prompt": " \n"}, "the prompt is empty ('prompt')"),
        ({"prompt": None}, "the prompt is empty ('prompt')"),
        ({"prompt": 5}, "prompt is 5: expected a text"),
        ({"prompt": ["a"]}, "prompt is ['a']: expected a text"),
        (
            {"title": "a"},
            "no prompt: the row has neither 'prompt' nor 'conversations', but 'title'; "
            "recipe.columns says which field is what",
        ),
        ({"conversations": []}, "the prompt is empty ('conversations')"),
        (
            {"conversations": [{"role": "assistant", "content": "x"}]},
            "conversations has no message whose role is 'user'",
        ),
        ({"conversations": [{"role": "user"}]}, "conversations has a user message without text"),
        ({"conversations": [{"role": "user", "content": [1]}]}, "conversations: content is [1]: expected a text"),
        ({"conversations": ["a"]}, 'conversations must be a list such as [{"role": "user", "content": "..."}]'),
        (
            {"conversations": "hello"},
            "conversations is not a list of messages: Expecting value: line 1 column 1 (char 0)",
        ),
        ({"prompt": "a", "id": [1]}, "id is [1]: an id is a text or a number"),
        ({"prompt": "a", "id": True}, "id is True: an id is a text or a number"),
        ({"prompt": "a", "seed": -2}, "seed is -2: input should be greater than or equal to 0" + OFF.format("seed")),
        (
            {"prompt": "a", "seed": 2**64},
            "seed is 18446744073709551616: input should be less than or equal to 18446744073709551615"
            + OFF.format("seed"),
        ),
        ({"prompt": "a", "seed": True}, "seed is True: must be a number, not true or false" + OFF.format("seed")),
        ({"prompt": "a", "width": 63}, "width is 63: input should be a multiple of 8" + SIZE_OFF),
        ({"prompt": "a", "WIDTH": 63}, "width ('WIDTH') is 63: input should be a multiple of 8" + SIZE_OFF),
        (
            {"prompt": "a", "height": "tall"},
            "height is 'tall': input should be a valid integer, unable to parse string as an integer" + SIZE_OFF,
        ),
        ({"prompt": "a", "steps": 0}, "steps is 0: input should be greater than or equal to 1" + OFF.format("steps")),
        (
            '{"prompt": "a", "guidance_scale": NaN}',
            "guidance_scale is nan: input should be a finite number" + OFF.format("guidance_scale"),
        ),
        (
            {"prompt": "a", "negative_prompt": 5},
            "negative_prompt is 5: input should be a valid string" + OFF.format("negative_prompt"),
        ),
    ],
)
def test_a_bad_row_is_set_aside_with_its_reason_and_the_next_is_loaded(load, row, reason):
    found = load([row, {"prompt": "good"}])
    assert found.row.prompt == "good"
    assert found.reason == reason
    assert (found.faults[0].line, found.faults[0].stage) == (1, "load")
    assert found.faults[0].file.endswith("prompts.jsonl")


def test_a_duplicate_id_is_set_aside_and_names_the_first(load):
    found = load([{"prompt": "a", "id": 1}, {"prompt": "b", "id": "2"}, {"prompt": "c", "id": "1"}])
    assert [row.prompt for row in found.rows] == ["a", "b"]
    assert (found.faults[0].id, found.faults[0].line) == ("1", 3)
    assert found.reason == "duplicate id '1': line 1 has it too, and comes first"


def test_a_blank_id_is_none(load):
    assert [len(row.id) for row in load([{"prompt": "a", "id": " "}, {"prompt": "b", "id": None}]).rows] == [16, 16]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "it is empty"),
        ("\n \n", "it is empty"),
        ("nope\n{}\n", "the first of 2: line 1, not JSON"),
    ],
)
def test_a_file_with_no_good_row_is_an_error(load, content, why):
    with pytest.raises(InputError) as caught:
        load(content)
    assert f"prompts.jsonl' has no good row ({why}" in str(caught.value)


def test_the_first_bad_row_stops_the_build_if_the_recipe_says_so(load):
    with pytest.raises(BuildFailed, match=r"line 2: the prompt is empty \('prompt'\) \(on_bad_row is 'stop'\)"):
        load([{"prompt": "a"}, {"prompt": ""}], on_bad_row="stop")


def test_each_user_message_is_a_prompt(load):
    conversation = [*user(" one "), {"role": "assistant", "content": "yes"}, *user("two")]
    found = load([{"id": "x", "conversations": conversation}, {"conversations": json.dumps(user("three"))}])
    assert [row.prompt for row in found.rows] == ["one", "two", "three"]
    assert [row.id for row in found.rows[:2]] == ["x-0", "x-1"]


def test_an_empty_conversation_leaves_the_prompt_to_be_read(load):
    assert load([{"conversations": [], "prompt": "a"}]).row.prompt == "a"


def test_names_match_exactly_or_else_ignoring_case(load):
    found = load([{"Prompt": "a", "SEED": 3}, {"prompt": "b", "Prompt": "c", "seed": 4, "Seed": 5}])
    assert [(row.prompt, row.seed) for row in found.rows] == [("a", 3), ("b", 4)]
    assert found.rows[1].carried == {"Prompt": "c", "Seed": 5}


def test_recipe_columns_name_the_fields_to_read(load):
    found = load("caption,key,prompt\na fox,k1,other\n", "p.csv", columns={"prompt": "caption", "id": "key"})
    assert (found.row.prompt, found.row.id, found.row.carried) == ("a fox", "k1", {"prompt": "other"})


def test_a_row_overrides_seed_size_steps_guidance_and_negative_prompt(load):
    settings = {"seed": 0, "width": 128, "height": "64", "steps": 3, "guidance_scale": 0, "negative_prompt": " blur "}
    row = load([{"prompt": "a", **settings}]).row
    assert (row.seed, row.width, row.height, row.steps) == (0, 128, 64, 3)
    assert row.guidance_scale == 0.0
    assert row.negative_prompt == "blur"
    assert row.carried == {}


def test_a_blank_override_is_none(load):
    row = load("prompt,seed,steps,negative_prompt\na, , , \n", "p.csv").row
    assert (row.seed, row.steps, row.negative_prompt) == (None, None, None)


def test_other_columns_are_carried_with_their_values(load):
    carried = {"n": 5, "x": 0.5, "yes": True, "text": "é", "list": [1, {"a": None}], "null": None}
    assert load([{"prompt": "a", **carried}]).row.carried == carried


def test_fields_that_a_recipe_does_not_read_are_carried(load):
    found = load([{"prompt": "a", "edit_prompt": "b", "images": "c.png"}])
    assert found.row.carried == {"edit_prompt": "b", "images": "c.png"}
    found = load([{"prompt": "a", "edit_prompt": "b"}], generate={}, edit={"instructions": ["i"]})
    assert (found.row.carried, found.row.edit_prompts) == ({"edit_prompt": "b"}, ())


def test_an_edit_row_uses_the_last_user_message_and_an_image_relative_to_the_file(load, image):
    rows = [
        {"images": "images/red.png", "conversations": user("first", "last")},
        {"images": ["images/red.png"], "edit_prompt": "own", "prompt": "a red field"},
        {"images": str(image), "prompt": "instruction"},
        {"images": "images/red.png", "edit_prompt": ["one", "two", "one"]},
    ]
    found = load(rows, edit={})
    assert [row.edit_prompts for row in found.rows] == [("last",), ("own",), ("instruction",), ("one", "two")]
    assert [row.prompt for row in found.rows] == [None, "a red field", "instruction", None]
    assert {row.image for row in found.rows} == {str(image)}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"images": "gone.png"}, "missing image: '{}/gone.png' does not exist"),
        (
            {"images": "broken.png"},
            "undecodable image: '{}/broken.png' is a PNG image, but damaged (Truncated File Read)",
        ),
        ({"images": "images"}, "the image '{}/images' is not a file"),
        ({"images": "pipe"}, "the image '{}/pipe' is not a file"),
        ({"images": "a\0b"}, "the image '{}/a\\x00b' cannot be read: embedded null byte"),
        ({"images": []}, "the image is empty ('images')"),
        ({"images": None}, "the image is empty ('images')"),
        ({"images": ""}, "the image is empty ('images')"),
        ({"images": 5}, "no image: 'images' must be a path or a list of one, not 5"),
        (
            {"images": ["a", "b"]},
            "2 images in 'images': the edit takes one (edit.references passes all to a model that takes several)",
        ),
        ({}, "no image: the row has no 'images', but 'edit_prompt'; recipe.columns says which field is what"),
    ],
)
def test_a_row_whose_image_cannot_be_used_is_set_aside(load, image, tmp_path, row, reason):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    os.mkfifo(tmp_path / "pipe")
    found = load([{**row, "edit_prompt": "e"}, {"images": "images/red.png", "edit_prompt": "good"}], edit={})
    assert found.row.edit_prompts == ("good",)
    assert found.reason == reason.replace("{}", str(tmp_path))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (
            {"images": "images/red.png"},
            "no edit instruction: the row has neither 'edit_prompt' nor 'conversations' nor 'prompt', but 'images'; "
            "recipe.columns says which field is what (recipe.edit.instructions is empty too)",
        ),
        (
            {"images": "images/red.png", "edit_prompt": []},
            "the edit instruction is empty ('edit_prompt') (recipe.edit.instructions is empty too)",
        ),
        (
            {"images": "images/red.png", "conversations": [{"role": "assistant", "content": "x"}]},
            "conversations has no message whose role is 'user'",
        ),
    ],
)
def test_an_edit_row_without_an_instruction_is_set_aside(load, image, row, reason):
    assert load([row, {"images": "images/red.png", "edit_prompt": "good"}], edit={}).reason == reason


def test_images_are_identified_by_their_bytes(load, image, tmp_path):
    (tmp_path / "copy.jpg").write_bytes(image.read_bytes())
    Image.new("RGB", (24, 16), "blue").save(tmp_path / "blue.png")
    names = ("images/red.png", "copy.jpg", "blue.png")
    red, copy, blue = load([{"images": name, "edit_prompt": "e"} for name in names], edit={}).rows
    assert red.image_hash == copy.image_hash != blue.image_hash
    assert copy.id == f"{red.id}-2"
