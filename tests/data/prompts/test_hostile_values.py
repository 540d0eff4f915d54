"""A row's values may be of any kind, size and alphabet: its reason is short, printable, and costs that row alone."""

import json
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imagemill.data.config.load import load_recipe
from imagemill.data.errors import InputError
from imagemill.data.planning.load_rows import load_rows
from imagemill.data.planning.worklist import Worklist

MAX_REASON = 500

BIG = "iVBORw0KGgo" * 20_000

VALUES = {
    "base64": BIG,
    "data url": "data:image/png;base64," + BIG,
    "escapes": "\x1b[31m\x07\x9b2J\u202e\u2066\ue000\0" * 1000,
    "emoji": "\U0001f98a" * 5000,
    "surrogate": "\ud800" * 100,
    "list": ["x" * 100_000] * 100,
    "mapping": {"k" * 100_000: "v" * 100_000},
    "nested": [[[[["x" * 1000] * 50] * 5] * 2]],
    "digits": 10**4200,
    "negative": -(10**400),
    "float": 1e308,
    "true": True,
    "url": "https://me:secret@127.0.0.1:9/x?token=secret" + "y" * 5000,
    "relative": "../" * 3000 + "x.png",
    "nul": "a\0b.png",
    "messages": [{"role": "user", "content": {"x": BIG}}],
    "parts": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:" + BIG}}]}],
    "text of json": '[{"role": "' + BIG,
}

SETTINGS = ("seed", "width", "height", "steps", "guidance_scale", "negative_prompt")
ROLES = ("prompt", "conversations", "images", "edit_prompt", "mask", "id", "aspect_ratio", "control_image")

RECIPES = {
    "generate": {"generate": {"controlnet": "org/name"}, "columns": {"aspect_ratio": "aspect_ratio"}},
    "edit": {"edit": {}},
    "references": {"edit": {"references": True}},
    "inpaint": {"edit": {"task": "inpaint", "instructions": ["a"]}},
    "template": {"generate": {}, "template": {"text": "a {prompt} {mask}"}},
}


def reasons_of(rows: list[str], tmp_path, fields) -> list[str]:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(row + "\n" for row in [*rows, '{"prompt": "a", "mask": "m"}']), encoding="utf-8")
    return reasons_in(prompts, tmp_path, fields)


def reasons_in(prompts, tmp_path, fields) -> list[str]:
    recipe = load_recipe({"prompts": str(prompts), "output": str(tmp_path / "out"), **fields})
    with Worklist.create(tmp_path / "plan.sqlite") as worklist:
        with suppress(InputError):
            load_rows(recipe, worklist)
        return [fault.reason for fault in worklist.faults()]


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("column", [*SETTINGS, *ROLES])
def test_every_reason_is_short_and_printable(recipe, column, tmp_path, image):
    sound = {
        "prompt": "a fox",
        "images": str(image),
        "mask": str(image),
        "edit_prompt": "b",
        "control_image": str(image),
    }
    rows = [json.dumps({**sound, column: value}) for name, value in VALUES.items() if name != "url"]
    reasons = reasons_of(rows, tmp_path, RECIPES[recipe])
    assert all(len(reason) < MAX_REASON for reason in reasons)
    assert all(reason.isprintable() for reason in reasons)
    assert "secret" not in "".join(reasons)


@pytest.mark.slow
def test_the_password_and_the_query_of_an_url_are_no_part_of_a_reason(tmp_path):
    reasons = reasons_of([json.dumps({"prompt": "a", "images": VALUES["url"]})], tmp_path, {"edit": {}})
    assert "127.0.0.1" in reasons[0]
    assert "secret" not in "".join(reasons)


@pytest.mark.parametrize(
    "line",
    [
        '{"prompt": "a", "x": ' + "[" * 100_000,
        "x" * 2_000_000,
        '{"' + "k" * 1_000_000 + '": 1}',
        json.dumps({"\x1b[2J\u202e" * 1000: 1}),
        json.dumps({f"key {number}" * 1000: 1 for number in range(1000)}),
        '{"prompt": "\\ud800"}',
    ],
    ids=lambda line: str(len(line)),
)
def test_the_reason_of_a_bad_line_is_short_and_printable(line, tmp_path):
    (reason,) = reasons_of([line], tmp_path, {"generate": {}})
    assert len(reason) < MAX_REASON
    assert reason.isprintable()


def test_an_embedded_image_with_a_name_of_any_length_costs_one_row(tmp_path, image):
    names = ["x" * 1_000_000, "\U0001f98a" * 500, "a/../../b\0c.png", "\x1b[2J"]
    rows = [
        {"prompt": "a", "images": {"bytes": content, "path": name}}
        for name in names
        for content in (image.read_bytes(), b"no image")
    ]
    path = tmp_path / "prompts.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    reasons = reasons_in(path, tmp_path, {"edit": {}})
    assert len(reasons) == len(names)
    assert all(len(reason) < MAX_REASON and reason.isprintable() for reason in reasons)


def test_the_bytes_of_an_embedded_image_are_counted_and_not_repeated(tmp_path, image):
    rows = [{"prompt": "a", "images": {"content": image.read_bytes(), "height": 3}}]
    path = tmp_path / "prompts.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    (reason,) = reasons_in(path, tmp_path, {"edit": {}})
    assert f"<{len(image.read_bytes())} bytes>" in reason
