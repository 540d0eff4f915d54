"""Prompts in other encodings than UTF-8 are read where that is sure, and garbage is never generated as a prompt."""

import codecs
import gzip
import json

import pytest

from imagemill.data.config.load import load_recipe
from imagemill.data.dataset.folder import Folder
from imagemill.data.planning.load_rows import load_rows
from imagemill.data.planning.plan import make_plan, schema_of
from imagemill.data.planning.worklist import Worklist
from imagemill.data.prompts.formats import text_file
from imagemill.data.prompts.reader import read_records
from imagemill.models.drawing.measure_registry import measures_of
from imagemill.tasks.build_context import resolve_models

TEXTS = ["a red circle", "a café", "a 🦊 in the snow", "ein roter Kreis", "a lake"]

FILES = {
    ".txt": "".join(f"{text}\r\n" for text in TEXTS),
    ".jsonl": "".join(f'{{"prompt": "{text}"}}\n' for text in TEXTS),
    ".csv": "prompt,style\n" + "".join(f"{text},flat\n" for text in TEXTS),
    ".tsv": "prompt\tstyle\n" + "".join(f"{text}\tflat\n" for text in TEXTS),
}

ENCODINGS = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")

MARKS = dict(zip(ENCODINGS, (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)))


def read(path, content):
    path.write_bytes(content)
    return list(read_records(str(path)))


def prompts_of(path, content):
    return [record.fields and record.fields["prompt"] for record in read(path, content)]


@pytest.mark.parametrize("block", [7, 2**16])
@pytest.mark.parametrize("has_mark", [True, False])
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("suffix", FILES)
def test_a_file_in_utf16_or_utf32_is_read(tmp_path, monkeypatch, suffix, encoding, has_mark, block):
    monkeypatch.setattr("imagemill.data.prompts.formats.bounded_lines._BLOCK", block)
    content = FILES[suffix].encode(encoding)
    assert prompts_of(tmp_path / f"p{suffix}", MARKS[encoding] * has_mark + content) == TEXTS


def test_a_long_compressed_file_in_utf16_is_read(tmp_path):
    content = "\ufeff" + "".join(f"prompt 🦊 {number}\n" for number in range(20_000))
    found = prompts_of(tmp_path / "p.txt.gz", gzip.compress(content.encode("utf-16-le")))
    assert found == [f"prompt 🦊 {number}" for number in range(20_000)]


@pytest.mark.parametrize("bad", [b"\x00\xd8", b"\x3d\xd8"])
def test_a_damaged_line_of_utf16_is_set_aside(tmp_path, bad):
    content = codecs.BOM_UTF16_LE + "a fox\n".encode("utf-16-le") + bad + "x\nb\n".encode("utf-16-le") + b"c"
    found = read(tmp_path / "p.txt", content)
    assert [record.fields and record.fields["prompt"] for record in found] == ["a fox", None, "b", None]
    assert "not UTF-8" in found[1].fault


def test_utf8_with_a_nul_is_no_utf16(tmp_path):
    assert prompts_of(tmp_path / "p.txt", b"a red\0 circle\na blue square\n") == ["a red\0 circle", "a blue square"]
    assert text_file._encoding_of(b"\0" * 100) == (None, 0)


@pytest.mark.parametrize("suffix", FILES)
def test_a_file_of_an_old_mac_is_read(tmp_path, suffix):
    content = FILES[suffix].replace("\r\n", "\n").replace("\n", "\r")
    assert prompts_of(tmp_path / f"p{suffix}", content.encode()) == TEXTS


def test_a_carriage_return_inside_of_json_is_a_blank(tmp_path):
    assert prompts_of(tmp_path / "p.jsonl", b'{\r"prompt": "a"\r}\r') == ["a"]
    assert prompts_of(tmp_path / "q.txt", b"a\rb\nc\n") == ["a\rb", "c"]


@pytest.fixture
def plan_of(tmp_path):
    """Plans these rows; returns the prompts to generate, and the rows set aside as (line, reason)."""

    def plan_of(rows, name="p.jsonl"):
        content = rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / name).write_text(content)
        fields = {"prompts": str(tmp_path / name), "output": str(tmp_path / "out"), "generate": {"model": "bundled"}}
        recipe = load_recipe(fields)
        facts = {step: spec.facts() for step, spec in resolve_models(recipe).items()}
        with Worklist.create(tmp_path / "plan.sqlite") as worklist:
            schema = schema_of(recipe, load_rows(recipe, worklist), measures_of)
            make_plan(recipe, worklist, Folder(recipe.output), schema, facts, {})
            planned = [row.prompt for row in worklist.shard(0)]
            return planned, [(fault.line, fault.reason) for fault in worklist.faults()]

    return plan_of


HINT = "is this UTF-16? Save the file in UTF-8"


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ("a red\0 circle", f"the prompt has a NUL character: {HINT}"),
        ("\0", f"the prompt is empty: it has no visible character ({HINT})"),
        ("\u200b", "the prompt is empty: it has no visible character"),
        ("\ufeff\u2060\u00ad", "the prompt is empty: it has no visible character"),
        ("\u3164", "the prompt is empty: it has no visible character"),
    ],
)
def test_garbage_is_set_aside_when_it_is_planned(plan_of, prompt, reason):
    planned, faults = plan_of([{"prompt": prompt}, {"prompt": "a red circle"}])
    assert planned == ["a red circle"]
    assert faults == [(1, reason)]


@pytest.mark.parametrize("prompt", ["\ufeffa red circle", "a\u200bb", "🦊", "\U0001fae8", "\ue000", "a\u200d"])
def test_a_text_with_anything_visible_stays_as_it_is(plan_of, prompt):
    assert plan_of([{"prompt": prompt}]) == ([prompt], [])


AGAIN = "it repeats the heading, as in a file that several were joined into"


@pytest.mark.parametrize("again", ["prompt,style", "\ufeffprompt,style", '\ufeff"prompt","style"'])
def test_a_second_heading_is_set_aside(plan_of, again):
    planned, faults = plan_of(f"\ufeffprompt,style\na fox,x\n{again}\na lake,y\n", "p.csv")
    assert planned == ["a fox", "a lake"]
    assert faults == [(3, AGAIN)]


def test_a_second_heading_whose_settings_are_no_numbers_has_the_same_reason(load):
    found = load("prompt,seed\na,1\nprompt,seed\nb,2\n", "p.csv")
    assert found.reason == AGAIN


def test_a_prompt_that_is_the_name_of_the_only_column_is_a_prompt(plan_of):
    assert plan_of("prompt\na fox\nprompt\n", "p.csv") == (["a fox", "prompt"], [])
