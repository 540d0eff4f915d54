"""Prompts in JSON that is not JSON Lines: each row is read on its own, and none is lost uncounted."""

import gzip
import json

import pytest

from imagemill.data.errors import InputError
from imagemill.data.prompts.formats import json_scanner
from imagemill.data.prompts.reader import read_records
from tests.data.prompts.formats.test_bounded_lines import read_in_a_child

ROWS = [
    {"prompt": "a red circle", "tags": ["x", {"y": [1]}]},
    {"prompt": 'quotes " and \\ and } and [ "', "n": 2**60},
    {"prompt": "é 🦊", "conversations": [{"role": "user", "content": "b"}, {"role": "user", "content": "c"}]},
]


def read(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_records(str(path)))


def rows_of(path, content):
    found = read(path, content)
    assert [record.line for record in found] == list(range(1, len(found) + 1))
    return [record.fields for record in found]


FORMS = {
    "array": json.dumps(ROWS),
    "pretty array": json.dumps(ROWS, indent=2),
    "array with a mark": "\ufeff \n" + json.dumps(ROWS, ensure_ascii=False),
    "trailing comma": json.dumps(ROWS)[:-1] + ",]\n",
    "wrapped": json.dumps({"version": "1", "count": 3, "tags": ["a"], "none": [], "data": ROWS, "more": {"x": [1]}}),
    "wrapped, pretty": json.dumps({"prompts": ROWS}, indent="\t"),
    "lines": "".join(json.dumps(row) + "\n" for row in ROWS),
    "objects": "\n".join(json.dumps(row, indent=2) for row in ROWS),
    "two arrays": json.dumps(ROWS[:1]) + "\n" + json.dumps(ROWS[1:]),
}


@pytest.mark.parametrize("block", [1, 5, 2**20])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_json_file_gives_its_rows(tmp_path, monkeypatch, form, block):
    monkeypatch.setattr(json_scanner, "_BLOCK", block)
    assert rows_of(tmp_path / "p.json", FORMS[form]) == ROWS


@pytest.mark.parametrize("form", ["array", "pretty array", "objects", "lines"])
@pytest.mark.parametrize("name", ["p.jsonl", "p.ndjson", "P.JSONL.gz"])
def test_a_jsonl_file_with_an_array_in_it_is_read(tmp_path, form, name):
    content = FORMS[form].encode()
    assert rows_of(tmp_path / name, gzip.compress(content) if name.endswith("gz") else content) == ROWS


@pytest.mark.parametrize("content", ['{"prompt": "a", "boxes": [{"x": 1}]}', '{"conversations": [{"content": "a"}]}'])
def test_an_object_that_is_a_row_is_one_row(tmp_path, content):
    assert rows_of(tmp_path / "p.json", content) == [json.loads(content)]
    assert rows_of(tmp_path / "p.json", json.dumps(json.loads(content), indent=1)) == [json.loads(content)]


def test_two_lists_of_rows_in_one_object_are_an_error_that_names_both(tmp_path):
    with pytest.raises(InputError, match=r"p\.json' has rows in 'train' and in 'test': save those that are prompts"):
        read(tmp_path / "p.json", '{"n": 1, "train": [{"prompt": "a"}], "test": [{"prompt": "b"}]}')


def test_what_is_neither_an_object_nor_a_text_in_an_array_is_set_aside(tmp_path):
    found = read(
        tmp_path / "p.json",
        '[{"prompt": "a"}, 5, "text", [{"x": 1}], {"prompt": "b",}, {\'prompt\': 1}, {"prompt": "c"}]',
    )
    assert [record.fields and record.fields["prompt"] for record in found] == ["a", None, "text", None, None, None, "c"]
    assert found[1].fault == 'not a JSON object such as {"prompt": "..."}'
    assert found[4].fault.startswith("not JSON (")


def test_a_row_with_bytes_that_are_not_utf8_is_set_aside(tmp_path):
    found = read(tmp_path / "p.json", b'[{"prompt": "caf\xe9"},\n{"prompt": "b"}]')
    assert [record.fields for record in found] == [None, {"prompt": "b"}]
    assert found[0].fault == "not UTF-8 (byte 16): save the file in UTF-8"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"prompt": "a"}, {"prompt": "b"}', "ends before all of its lists and objects are closed"),
        ('[{"prompt": "a"}, {"prompt": "b', "ends inside of the value that begins on line 1"),
        ('[{"prompt": "a",\n {"prompt": "b"}]', r"has '\]' on line 2 with nothing to close"),
        ('[{"prompt": "a", {"prompt": "b"}}]', "is damaged in row 1, which begins on line 1"),
        ('[{"prompt": "a},\n{"prompt": "b"},\n{"prompt": "c"}]', "line"),
        ('[{"prompt": "a}, {"prompt": "b"}, {"prompt": "c}, {"prompt": "d"}]', "is damaged in row 1"),
        ('[{"p": 1 ",\n{"p": "b \\" x"}, {"p": "c"}]', "is damaged in row 1, which begins on line 1"),
        ('{"data": [0 {"prompt": "a"}, {"prompt": "b"}]}', "is damaged in its first object"),
        ('[{"prompt": "a"}] nonsense', "has 'n' on line 1, where a row begins"),
        ("{prompt: 1}", "has no name in quotes"),
    ],
)
def test_a_file_whose_rows_cannot_be_told_apart_is_refused(tmp_path, content, message):
    with pytest.raises(InputError, match=rf"p\.json' {message}" if message != "line" else message):
        read(tmp_path / "p.json", content)


def test_a_jsonl_line_that_is_a_list_is_set_aside_as_before(tmp_path):
    found = read(tmp_path / "p.jsonl", '[1]\n{"prompt": "a"}\nnope\n')
    assert [(record.line, record.fields) for record in found] == [(1, None), (2, {"prompt": "a"}), (3, None)]


def test_an_empty_file_and_an_empty_array_have_no_rows(tmp_path):
    for content in ("", "  \n", "[]", "[ ]\n"):
        assert read(tmp_path / "p.json", content) == []


@pytest.mark.slow
def test_a_row_of_any_size_costs_itself_and_no_memory(tmp_path):
    path = tmp_path / "p.json.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b'[{"prompt": "a fox"}, {"prompt": "')
        for _ in range(16):
            file.write(b"x" * 2**24)
        file.write(b'\\\\"}, {"prompt": "a kite"}]')
    assert read_in_a_child(path) == [[1, "a fox", None], [2, None, "the row has over 64 MiB"], [3, "a kite", None]]


def test_a_text_is_a_prompt(tmp_path):
    prompts = [{"prompt": "a red circle"}, {"prompt": "a blue square"}]
    assert rows_of(tmp_path / "p.json", '["a red circle", "a blue square"]') == prompts
    assert rows_of(tmp_path / "p.jsonl", '"a red circle"\n"a blue square"\n') == prompts
