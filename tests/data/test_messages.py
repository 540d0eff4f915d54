"""A message repeats a value in at most 80 characters, without credentials, and never moves the terminal."""

from pathlib import Path

import pytest

from imagemill.data.errors import BadRow, RecipeError
from imagemill.data.messages import field_path, shown, shown_path
from imagemill.data.prompts.row_images import EmbeddedImage
from imagemill.data.records import Failure, SetAside

ESCAPES = "\x1b[31m\x07\x9b2J\u202e\u2066\ud800\u200b\ue000"


def cyclic():
    values = []
    values.append(values)
    return {"a": values}


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("a fox", "'a fox'"),
        ("it's", '"it\'s"'),
        ("x" * 10_000_000, "'" + "x" * 77 + "...'"),
        (b"\0" * 5_000_000, "<5,000,000 bytes>"),
        ({"bytes": b"123", "path": "a.png"}, "{'bytes': <3 bytes>, 'path': 'a.png'}"),
        (EmbeddedImage(b"123", "a" * 1000), "<3 bytes>"),
        (10**9_999, "<a number of about 10,000 digits>"),
        ([1, 2.5, None, True], "[1, 2.5, None, True]"),
        (["x"] * 1_000_000, "['x', 'x', 'x', 'x', 'x', 'x', 'x', 'x', ...]"),
        (cyclic(), "{'a': [[[...]]]}"),
        (("a",), "('a',)"),
        (Path("a.png"), "'a.png'"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_of_any_kind_and_size_is_written_in_a_line(value, written):
    assert shown(value) == written


@pytest.mark.parametrize(
    "value",
    [ESCAPES, ESCAPES * 1000, [ESCAPES], {ESCAPES: 1}, "\n" * 1000, "'\"" * 1000],
    ids=lambda value: type(value).__name__,
)
def test_a_value_is_printable_and_short_whatever_it_holds(value):
    written = shown(value)
    assert written.isprintable()
    assert len(written) <= 160


@pytest.mark.parametrize(
    "value",
    [
        "https://me:MARKER@host/x",
        "https://MARKER@host/x",
        "https://host/x?key=MARKER",
        "see s3://MARKER@bucket/x and http://host/?a=b&sig=MARKER",
        "sk-MARKER" + "a" * 30,
        "-----BEGIN RSA PRIVATE KEY-----\nMARKER",
        ["https://host/x?token=MARKER"],
    ],
)
def test_a_credential_is_left_out(value):
    assert "MARKER" not in shown(value)
    assert "MARKER" not in str(RecipeError(f"recipe.prompts is {value}"))


def test_a_long_path_keeps_its_beginning_and_its_end():
    written = shown_path("/data/" + "x" * 5000 + "/p.jsonl")
    assert written.startswith("'/data/xxx")
    assert written.endswith("xxx/p.jsonl'")
    assert len(written) < 180


def test_a_field_whose_name_is_no_word_is_not_repeated():
    assert field_path(("recipe", "generate", "steps", 1)) == "recipe.generate.steps.1"
    assert field_path(("recipe", "root:$6$MARKER:19000")) == "recipe.<a name of 20 characters>"


def test_every_error_is_printable_and_bounded():
    for kind, limit in ((RecipeError, 4000), (BadRow, 400)):
        text = str(kind(f"the value {ESCAPES}{'x' * 1_000_000}"))
        assert text.isprintable()
        assert len(text) <= limit


def test_the_reason_and_id_of_a_row_that_is_set_aside_are_bounded():
    reasons = (
        Failure(ESCAPES * 1_000_000).reason,
        SetAside("load", ESCAPES * 1_000_000, "p.jsonl", 1, ESCAPES * 1_000_000).reason,
    )
    assert all(len(reason) <= 400 and reason.isprintable() for reason in reasons)
    row = SetAside("load", "y" * 1_000_000, "p.jsonl", 1, "a reason")
    assert row.id == "y" * 200
