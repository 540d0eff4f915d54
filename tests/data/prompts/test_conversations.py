"""Conversations in the forms that chat datasets have: who speaks, what is said, and images among it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import wait_until
from tests.data.web_site import png

RED = {"type": "image_url", "image_url": {"url": "images/red.png"}}


def text(words):
    return {"type": "text", "text": words}


@pytest.mark.parametrize(
    "messages",
    [
        [{"content": "a red circle", "role": "user"}],
        [{"content": "a red circle"}],
        [{"content": "a red circle"}, {"content": ""}, {"role": "assistant", "content": "no"}],
        [{"from": "human", "value": "a red circle"}, {"from": "gpt", "value": "ok"}],
        [{"from": "system", "value": "draw"}, {"from": "user", "value": "a red circle"}],
        [{"role": "human", "content": "a red circle"}],
        [{"role": "User", "content": "a red circle"}],
        [{"role": "user", "content": [text("a red circle")]}],
        [{"role": "user", "content": ["a red circle"]}],
        [{"role": "user", "content": [{"type": "image"}, text("a red circle")]}],
        [{"role": "user", "content": [{"type": "text", "text": "a red circle", "image_url": None}]}],
        [{"from": "human", "value": "<image>\na red circle"}],
        [{"role": "user", "content": "a red circle<image>"}],
        {"role": "user", "content": "a red circle"},
    ],
)
@pytest.mark.parametrize("name", ["conversations", "messages", "conversation"])
def test_a_conversation_is_read_in_each_form(load, messages, name):
    assert load([{name: messages}]).row.prompt == "a red circle"
    assert load([{name: json.dumps(messages)}]).row.prompt == "a red circle"


def test_a_conversation_that_pandas_wrote_as_text_is_read(load):
    rows = "conversations\n\"[{'role': 'user', 'content': 'a red circle'}]\"\n"
    assert load(rows, "p.csv").row.prompt == "a red circle"


def test_only_messages_of_the_role_user_count_where_there_are_any(load):
    messages = [{"content": "none"}, {"role": "user", "content": "own"}, {"from": "human", "value": "other"}]
    assert [row.prompt for row in load([{"conversations": messages}]).rows] == ["own"]


def test_a_placeholder_of_an_image_stays_in_a_dataset_that_was_begun_with_it(load, begun_before):
    assert load([{"conversations": [{"role": "user", "content": "<image>\na"}]}]).row.prompt == "<image>\na"


@pytest.mark.parametrize(
    "part",
    [
        RED,
        {"type": "image_url", "image_url": "images/red.png"},
        {"type": "image", "image": "images/red.png"},
        {"type": "image", "url": "images/red.png"},
        {"type": "image", "path": "images/red.png"},
        {"image": "images/red.png"},
        {"type": "input_image", "image_url": "images/red.png"},
    ],
)
def test_images_among_the_parts_are_the_rows_images(load, image, part):
    found = load([{"messages": [{"role": "user", "content": [part, text("make it blue")]}]}], edit={})
    assert (found.row.edit_prompts, found.row.image) == (("make it blue",), str(image))


def test_an_image_may_have_a_message_to_itself(load, image):
    messages = [{"role": "user", "content": [RED]}, {"role": "user", "content": "make it blue"}]
    assert load([{"messages": messages}], edit={}).row.edit_prompts == ("make it blue",)
    (fault,) = load([{"messages": messages[:1]}, {"messages": messages}], edit={}).faults
    assert fault.reason == "messages has no user message with text"


def test_images_among_the_parts_are_downloaded_ahead(load, site):
    site.stalls.add("/red.png")
    rows = [
        {
            "messages": [
                {"role": "user", "content": [{"type": "image", "url": site.address + path}, text("make it green")]}
            ]
        }
        for path in ("/red.png", "/blue.png")
    ]
    with ThreadPoolExecutor() as pool:
        loading = pool.submit(load, rows, edit={})
        wait_until(lambda: {"/red.png", "/blue.png"} <= set(site.requests), "both requests")
        site.resume.set()
        assert len(loading.result().rows) == 2


def test_a_column_of_images_comes_before_the_parts_and_they_before_a_column_that_may_be_another(load, image, tmp_path):
    (tmp_path / "blue.png").write_bytes(png("blue"))
    messages = [{"role": "user", "content": [RED, text("make it green")]}]
    assert load([{"messages": messages, "images": "blue.png"}], edit={}).row.image == str(tmp_path / "blue.png")
    found = load([{"messages": messages, "url": "/v1/chat/completions"}], edit={})
    assert (found.row.image, found.row.carried) == (str(image), {"url": "/v1/chat/completions"})


def test_the_examples_of_dataflow_are_read_with_nothing_set(load, image):
    # Its text-to-image pipelines, and its editing pipelines: an image as a text or in a list, one turn or two.
    user = [{"content": "make it blue", "role": "user"}]
    assert load([{"conversations": user}]).row.prompt == "make it blue"
    rows = [
        {"images": "images/red.png", "conversations": user},
        {"images": ["images/red.png"], "conversations": user},
        {"images": "images/red.png", "conversations": [{"role": "user", "content": "first"}, *user]},
        {"conversations": user, "images": ["images/red.png"], "edited_images": [""]},
    ]
    found = load(rows, edit={})
    assert [(row.edit_prompts, row.image) for row in found.rows] == [(("make it blue",), str(image))] * 4


def test_an_unknown_part_costs_its_row_alone(load):
    bad = {"messages": [{"role": "user", "content": [{"type": "video", "video": "x" * 1000}]}]}
    found = load([bad, {"messages": [{"role": "user", "content": "a"}]}])
    assert found.reason.startswith("messages: content has a part that is neither text nor image: {'type': 'video'")
    assert len(found.reason) < 200
