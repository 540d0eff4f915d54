"""Prompts files of every format are read line by line, and a bad line affects no other."""

import bz2
import datetime
import decimal
import gzip
import lzma

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imagemill.data.errors import InputError
from imagemill.data.prompts.reader import read_records
from tests.data.conftest import SAMPLES


def prompts_of(path):
    return [record.fields and record.fields.get("prompt") for record in read_records(str(path))]


def records_of(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_records(str(path)))


def test_a_line_that_is_not_json_is_set_aside_with_its_line_number(load):
    found = load('{"prompt": "a"}\nnope\n\n{"prompt": "b"}\n')
    assert [row.prompt for row in found.rows] == ["a", "b"]
    assert [row.line for row in found.rows] == [1, 4]
    assert found.faults[0].line == 2
    assert found.reason == "not JSON (Expecting value: line 1 column 1 (char 0))"


@pytest.mark.parametrize("line", ["[1]", "5", "null", "true"])
def test_json_other_than_an_object_or_a_text_is_set_aside(load, line):
    assert load(["{}", line, {"prompt": "a"}]).faults[1].reason == ('not a JSON object such as {"prompt": "..."}')


def test_a_line_that_is_not_utf8_is_set_aside(load):
    found = load('{"prompt": "a"}\n{"prompt": "caf\xe9"}\n'.encode("latin-1"))
    assert found.faults[0].line == 2
    assert found.reason == "not UTF-8 (byte 16): save the file in UTF-8"


@pytest.mark.parametrize("line", [r'{"prompt": "a\ud800"}', r'{"prompt": "a", "\udfff": 1}'])
def test_a_lone_surrogate_is_set_aside(load, line):
    found = load([line, r'{"prompt": "\ud83e\udd8a"}'])
    assert found.row.prompt == "\N{FOX FACE}"
    assert found.reason.startswith("text that is not valid Unicode (surrogates not allowed)")


def test_a_number_of_thousands_of_digits_is_set_aside(load):
    found = load(['{"prompt": "a", "x": ' + "9" * 5000 + "}", {"prompt": "b"}])
    assert found.row.prompt == "b"
    assert found.reason.startswith("not JSON (Exceeds the limit")


@pytest.mark.parametrize("depth", [65, 900, 100_000])
def test_excessive_nesting_is_set_aside(load, depth):
    found = load(['{"prompt": "a", "x": ' + "[" * depth + "]" * depth + "}", {"prompt": "b"}])
    assert found.row.prompt == "b"
    assert "nested over 64 deep" in found.reason or "recursion" in found.reason


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path):
    (tmp_path / "p.jsonl").write_bytes(b'\xef\xbb\xbf{"prompt": "a"}\r\n\r\n{"prompt": "b"}\r\n')
    assert prompts_of(tmp_path / "p.jsonl") == ["a", "b"]
    (tmp_path / "p.csv").write_bytes(b"\xef\xbb\xbfprompt,x\r\na,1\r\n")
    assert prompts_of(tmp_path / "p.csv") == ["a"]


def test_a_text_file_has_one_prompt_per_line(tmp_path):
    found = records_of(tmp_path / "p.txt", b" a fox \n\nb\xff\nc")
    assert [(record.line, record.fields) for record in found] == [
        (1, {"prompt": "a fox"}),
        (3, None),
        (4, {"prompt": "c"}),
    ]
    assert found[1].fault == "not UTF-8 (byte 2): save the file in UTF-8"


def test_the_dataflow_samples_load(load):
    found = load((SAMPLES / "dataflow.jsonl").read_bytes())
    assert [row.prompt for row in found.rows] == [
        "a fox darting between snow-covered pines at dusk",
        "a kite surfer riding emerald waves under a cloudy sky",
    ]


def test_partiprompts_load_with_their_columns(load):
    found = load((SAMPLES / "parti-64.tsv").read_bytes(), "PartiPrompts.tsv")
    assert found.faults == []
    assert len(found.rows) == (SAMPLES / "parti-64.tsv").read_bytes().count(b"\n") - 1
    assert found.rows[0].prompt == "bond"
    assert found.rows[0].carried["Category"] == "Abstract"
    assert found.loaded.carried == {"Category": "str", "Challenge": "str", "Note": "str"}


def test_a_tsv_prompt_that_begins_with_a_quote_keeps_it(tmp_path):
    lines = ["Prompt\tNote", '"G I G G L E" painted on a wall\tx', '"quo""ted"\ty', '"unclosed\tz', "plain\t"]
    found = [record.fields for record in records_of(tmp_path / "p.tsv", "\n".join(lines))]
    assert found == [
        {"Prompt": '"G I G G L E" painted on a wall', "Note": "x"},
        {"Prompt": 'quo"ted', "Note": "y"},
        {"Prompt": '"unclosed', "Note": "z"},
        {"Prompt": "plain"},
    ]


def test_a_quoted_field_may_hold_delimiters_quotes_and_lines(tmp_path):
    found = records_of(tmp_path / "p.csv", 'prompt,x\n"a, ""b""\nc",1\nd,2\n')
    assert [(record.line, record.fields) for record in found] == [
        (2, {"prompt": 'a, "b"\nc', "x": "1"}),
        (4, {"prompt": "d", "x": "2"}),
    ]


def test_a_csv_line_with_too_many_fields_is_set_aside(load):
    found = load("prompt,seed\na,1\nb,2,three\nc\n", "p.csv")
    assert [row.prompt for row in found.rows] == ["a", "c"]
    assert found.faults[0].line == 3
    assert found.reason == "1 more field than the heading has"


def test_a_csv_line_that_is_not_utf8_is_set_aside(load):
    found = load(b"prompt,x\na,\xff\nb,1\n", "p.csv")
    assert found.row.prompt == "b"
    assert (found.faults[0].line, found.reason) == (2, "not UTF-8: save the file in UTF-8")


def test_a_csv_column_without_a_name_gets_one(tmp_path):
    (found,) = records_of(tmp_path / "p.csv", ",prompt\n7,a\n")
    assert found.fields == {"column_1": "7", "prompt": "a"}


@pytest.mark.parametrize(
    ("heading", "message"),
    [
        (b"prompt,prompt", "has 'prompt' twice (columns 1 and 2): give each column its own name."),
        (b"prompt,\xff", "is not UTF-8: save the file in UTF-8."),
        (b'"prompt', "is not a table row: unexpected end of data."),
    ],
)
def test_an_unusable_heading_is_an_error_that_names_the_file(tmp_path, heading, message):
    path = tmp_path / "p.csv"
    with pytest.raises(InputError) as caught:
        records_of(path, heading + b"\na,b\n" * (b'"' not in heading))
    assert str(caught.value) == f"the heading of the prompts file {str(path)!r} {message}"


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)])
def test_a_compressed_file_is_read_and_a_truncated_one_is_an_error(tmp_path, suffix, pack):
    content = pack(b'{"prompt": "a"}\n' * 3)
    (tmp_path / f"P.JSONL{suffix}").write_bytes(content)
    assert prompts_of(tmp_path / f"P.JSONL{suffix}") == ["a"] * 3
    (tmp_path / f"cut.jsonl{suffix}").write_bytes(content[:-6])
    with pytest.raises(InputError, match="is cut short or damaged: Compressed file ended before"):
        prompts_of(tmp_path / f"cut.jsonl{suffix}")


def test_a_file_that_is_not_in_its_compression_format_is_an_error(tmp_path):
    with pytest.raises(InputError, match="cannot be read: Not a gzipped file"):
        records_of(tmp_path / "p.jsonl.gz", "plain")


@pytest.mark.parametrize("name", ["p.yaml", "p", "p.jsonl.zip"])
def test_an_unknown_format_names_the_known_ones(tmp_path, name):
    with pytest.raises(InputError, match=r"which is none of \.jsonl, \.ndjson, \.json, \.csv"):
        records_of(tmp_path / name, "a")


@pytest.mark.parametrize(
    "line",
    ['{"prompt": "a"}{"prompt": "b, {"}', '{"prompt": "a"}, {"prompt": "b, {"},', ' {"prompt":"a"} {"prompt":"b, {"}'],
)
def test_objects_after_each_other_in_a_line_are_rows(tmp_path, line):
    found = records_of(tmp_path / "p.jsonl", f'{{"prompt": "x"}}\n{line}\n{{"prompt": "c"}},\n')
    assert [(record.line, record.fields["prompt"]) for record in found] == [(1, "x"), (2, "a"), (2, "b, {"), (3, "c")]


@pytest.mark.parametrize("line", ['{"prompt": "a"} b', '{"prompt": "a"}, [1]', '{"prompt": "a"}{"prompt"', ",", "{},}"])
def test_a_line_with_anything_else_in_it_is_set_aside(tmp_path, line):
    assert [record.fields for record in records_of(tmp_path / "p.jsonl", line + "\n")] == [None]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_compressed_file_without_its_suffix_is_an_error_that_names_it(tmp_path, pack):
    suffix = {gzip.compress: ".gz", bz2.compress: ".bz2", lzma.compress: ".xz"}[pack]
    for name in ("p.jsonl", "p.csv", "p.txt", "p.json"):
        with pytest.raises(InputError, match=rf"is no text, but begins as a file that ends in \{suffix}: add that to"):
            records_of(tmp_path / name, pack(b'{"prompt": "a"}\n'))


def test_a_missing_file_and_an_empty_folder_are_errors(tmp_path):
    with pytest.raises(InputError, match=r"none\.jsonl' does not exist\. Give recipe\.prompts the path of one\."):
        prompts_of(tmp_path / "none.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(InputError, match=r"has neither images nor a file that ends in \.jsonl"):
        prompts_of(tmp_path / "folder.jsonl")


def test_an_address_that_cannot_be_opened_is_an_error():
    with pytest.raises(InputError, match="is not read: its protocol is none of http://, https://, hf://, s3://"):
        list(read_records("gopher://example.org/p.jsonl"))


def test_a_name_with_wildcards_is_a_name(tmp_path):
    assert [record.fields for record in records_of(tmp_path / "a[1]*.jsonl", '{"prompt": "a"}')] == [{"prompt": "a"}]


def test_parquet_values_keep_their_types_and_others_become_text(tmp_path):
    table = pa.table(
        {
            "prompt": ["a", "b", None],
            "small": pa.array([1, None, 3], pa.int8()),
            "half": pa.array([0.5, 1, 2], pa.float16()),
            "word": pa.array(["x", "y", "x"]).dictionary_encode(),
            "list": [[1, 2], [], None],
            "day": [datetime.date(2026, 11, 21)] * 3,
            "when": pa.array([datetime.datetime(2026, 11, 21, 3)] * 3, pa.timestamp("us", "UTC")),
            "price": [decimal.Decimal("1.50")] * 3,
            "nested": [{"day": datetime.date(2026, 11, 21)}] * 3,
            "raw": [b"\xff"] * 3,
        }
    )
    pq.write_table(table, tmp_path / "p.parquet")
    found = list(read_records(str(tmp_path / "p.parquet")))
    assert [record.line for record in found] == [1, 2, 3]
    assert found[0].fields == {
        "prompt": "a",
        "small": 1,
        "half": 0.5,
        "word": "x",
        "list": [1, 2],
        "day": "2026-11-21",
        "when": "2026-11-21T03:00:00+00:00",
        "price": "1.50",
        "nested": {"day": "2026-11-21"},
    }
    assert "small" not in found[1].fields
    assert "prompt" not in found[2].fields


def test_a_parquet_text_that_is_not_utf8_costs_its_row(tmp_path):
    offsets, texts = pa.py_buffer(b"\0\0\0\0\1\0\0\0\3\0\0\0\4\0\0\0"), pa.py_buffer(b"a\xff\xfec")
    pq.write_table(
        pa.table({"prompt": pa.Array.from_buffers(pa.string(), 3, [None, offsets, texts])}), tmp_path / "p.parquet"
    )
    found = list(read_records(str(tmp_path / "p.parquet")))
    assert [record.fields for record in found] == [{"prompt": "a"}, None, {"prompt": "c"}]
    assert found[1].fault == "not UTF-8: a text in this row is damaged"


def test_a_file_that_is_not_parquet_is_an_error_that_names_it(tmp_path):
    with pytest.raises(InputError, match=r"p\.parquet' is not Parquet, or is damaged"):
        records_of(tmp_path / "p.parquet", "not parquet at all")


@pytest.mark.parametrize(("name", "hint"), [("p.xlsx", "save the sheet as CSV"), ("p.zip", "unpack it")])
def test_a_file_in_a_form_that_is_not_read_is_refused_with_what_to_do(tmp_path, name, hint):
    (tmp_path / name).write_bytes(b"PK\3\4")
    with pytest.raises(InputError, match=f"To read this one, {hint}"):
        list(read_records(str(tmp_path / name)))
