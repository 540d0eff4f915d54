"""A broken line of a table is one row set aside, and dialects of CSV are read as their first lines tell."""

import gzip
import lzma
import random

import pytest

from imagemill.data.errors import BuildFailed, InputError
from imagemill.data.prompts.field_names import RoleNames
from imagemill.data.prompts.formats import table_formats
from imagemill.data.prompts.reader import read_records

OPEN = "not a table row: a quote that opens here never closes"


def read(path, content, named=("prompt",)):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_records(str(path), roles=RoleNames(texts=frozenset(named))))


def fields_of(path, content, named=("prompt",)):
    return [record.fields for record in read(path, content, named)]


def test_a_csv_quote_that_never_closes_costs_its_own_line(load):
    found = load('prompt,x\na,1\nb,"unclosed\nc,3\nd,4\n', "p.csv", max_set_aside=1)
    assert [(row.line, row.prompt) for row in found.rows] == [(2, "a"), (4, "c"), (5, "d")]
    assert (found.faults[0].line, found.reason) == (3, f"{OPEN} (unexpected end of data, line 5)")


@pytest.mark.parametrize("line", ['b,"open', '"open,b', 'b,"', '"a red circle, flat,x'])
def test_the_rows_between_two_unclosed_quotes_are_read(tmp_path, line):
    lines = ["prompt,x", *["a,1"] * 5, line, *["c,3"] * 60, line, *["d,4"] * 5]
    found = read(tmp_path / "p.csv", "\n".join(lines) + "\n")
    assert len(found) == len(lines) - 1
    assert [record.line for record in found if record.fields is None] == [7, 68]


def test_a_quote_that_closes_at_a_later_inch_mark_costs_its_own_line(tmp_path):
    found = read(tmp_path / "p.csv", 'prompt,x\nb,"open\nc,3\na tv of 42",flat\nd,4\n')
    assert [record.fields and record.fields["prompt"] for record in found] == [None, "c", 'a tv of 42"', "d"]
    assert found[0].fault == f"{OPEN} (other rows are in it)"


@pytest.mark.parametrize(("columns", "between"), [(2, 10), (3, 5), (6, 2), (11, 1)])
def test_rows_between_two_stray_quotes_that_make_one_field_are_read(tmp_path, columns, between):
    row = ",".join("abcdefghijk"[:columns])
    lines = [
        "prompt," + ",".join("bcdefghijk"[: columns - 1]),
        f'"{row}',
        *[row] * between,
        row.replace(",", '",', 1),
        row,
    ]
    found = read(tmp_path / "p.csv", "\n".join(lines))
    assert [record.line for record in found] == list(range(2, len(lines) + 1))
    assert [record.line for record in found if record.fields is None] == [2]
    # One line less is not enough to be sure.
    assert len(read(tmp_path / "p.csv", "\n".join([*lines[:2], *lines[3:]]))) == 2


def test_a_text_of_many_lines_stays_one_field(tmp_path):
    text = "\n".join(f"verse {number}, it said, and went on" for number in range(80))
    assert fields_of(tmp_path / "p.csv", f'prompt,x\n"{text}",1\nb,2\n')[0] == {"prompt": text, "x": "1"}


@pytest.mark.parametrize(("suffix", "pack"), [("", bytes), (".gz", gzip.compress), (".xz", lzma.compress)])
def test_a_field_that_is_open_after_16_mib_costs_its_own_line(tmp_path, suffix, pack):
    # No other line has a quote that could close it.
    rows = (b"c" * 1000 + b',""\n') * (17 * 2**10)
    content = pack(b'prompt,x\na,1\nb,"open\n' + rows)
    (tmp_path / f"p.csv{suffix}").write_bytes(content)
    good, bad = 0, []
    for record in read_records(str(tmp_path / f"p.csv{suffix}")):
        good += record.fields is not None
        bad += [record] if record.fields is None else []
    assert (good, [record.line for record in bad]) == (1 + rows.count(b"\n"), [3])
    assert "field larger than field limit" in bad[0].fault


def test_many_broken_lines_are_read_once_each(tmp_path, monkeypatch):
    read_lines = 0
    step = table_formats.TableLines.__next__

    def counted(lines):
        nonlocal read_lines
        read_lines += 1
        return step(lines)

    monkeypatch.setattr(table_formats.TableLines, "__next__", counted)
    monkeypatch.setattr(table_formats, "MAX_BROKEN", 10_000)
    lines = [f'a {number},{chr(34) * (number % 10 == 0)}x,""' for number in range(20_000)]
    found = read(tmp_path / "p.csv", "prompt,x,y\n" + "\n".join(lines))
    assert len(found) == len(lines)
    assert sum(record.fields is None for record in found) == 2_000
    assert read_lines < 2.5 * len(lines)


def test_a_file_of_broken_lines_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(table_formats, "MAX_BROKEN", 3)
    content = "prompt,x\n" + 'a,"open\nb,2\n' * 4
    with pytest.raises(
        InputError, match=r"p\.csv' has over 3 lines with a quote that never closes, the first is line 2"
    ):
        read(tmp_path / "p.csv", content)


def test_a_line_that_is_too_long_in_an_open_row_loses_no_row(tmp_path, monkeypatch):
    monkeypatch.setattr("imagemill.data.prompts.formats.bounded_lines.MAX_LINE_BYTES", 50)
    found = read(tmp_path / "p.csv", f'prompt,x\nb,"open\nc,3\n{"x" * 60},4\nd,5\n')
    assert [record.line for record in found] == [2, 3, 4, 5]
    assert [record.fields and record.fields["prompt"] for record in found] == [None, "c", None, "d"]


@pytest.mark.parametrize("number", range(30))
def test_rows_read_and_rows_set_aside_are_the_rows_of_the_file(tmp_path, number):
    chance = random.Random(number)
    good = ["a fox,1", '"a, fox",2', '"a ""fox""",3', 'a 12" disc,4', 'fox,""', "fox"]
    bad = ['"open,5', 'b,"open', '"a" fox,6', "a,b,c", '"a \\"fox\\"",8']
    rows = [chance.choice(good if chance.random() < 0.8 else bad) for _ in range(200)]
    for suffix, mark in ((".csv", ","), (".tsv", "\t")):
        content = f"prompt{mark}x\n" + "".join(row.replace(",", mark) + "\n" for row in rows)
        found = read(tmp_path / f"p{suffix}", content)
        assert [record.line for record in found] == list(range(2, 202))


def test_the_guard_sees_every_broken_line(load):
    with pytest.raises(BuildFailed, match=r"line 3: not a table row: a quote"):
        load('prompt,x\na,1\nb,"unclosed\nc,3\n', "p.csv", on_bad_row="stop")
    lines = ['b,"open' if number % 10 == 0 else "c,1" for number in range(100)]
    found = load("prompt,x\n" + "\n".join(lines), "p.csv")
    assert (found.loaded.rows, found.loaded.set_aside) == (90, 10)


ROW = {"prompt": "a red, flat circle", "style": "x"}


@pytest.mark.parametrize(
    "content",
    [
        "prompt;style\na red, flat circle;x\n",
        "prompt\tstyle\na red, flat circle\tx\n",
        "prompt|style\na red, flat circle|x\n",
        '"prompt";"style"\n"a red, flat circle";"x"\n',
        "sep=;\nprompt;style\na red, flat circle;x\n",
        '"sep=|"\r\nprompt|style\r\na red, flat circle|x\r\n',
        '\ufeffsep=,\r\nprompt,style\r\n"a red, flat circle",x\r\n',
        '\n\n prompt, style\n"a red, flat circle", x\n',
    ],
)
def test_the_first_lines_of_a_csv_say_how_it_is_separated(tmp_path, content):
    assert fields_of(tmp_path / "p.csv", content) == [ROW]


def test_a_csv_of_excel_is_read_and_its_other_bytes_are_told(tmp_path):
    content = b'\xef\xbb\xbfsep=;\r\nid;prompt\r\n1;"a ""red""; circle"\r\n2;caf\xe9\r\n3;a star\r\n'
    found = read(tmp_path / "p.csv", content)
    assert [record.fields for record in found] == [
        {"id": "1", "prompt": 'a "red"; circle'},
        None,
        {"id": "3", "prompt": "a star"},
    ]
    assert [record.line for record in found] == [3, 4, 5]
    assert found[1].fault == "not UTF-8: save the file in UTF-8"


@pytest.mark.parametrize(
    ("content", "fields"),
    [
        # A column of this name is in the recipe.
        ("prompt;style\na;b\n", {"prompt;style": "a;b"}),
        # The comma comes first.
        ("id,a;b,prompt\n1,2;3,x\n", {"id": "1", "a;b": "2;3", "prompt": "x"}),
        # Two others: neither is sure.
        ("prompt;a|b\nx;y|z\n", {"prompt;a|b": "x;y|z"}),
        # The recipe finds its fields as they are: others keep their blanks.
        ("prompt, style\na, b\n", {"prompt": "a", " style": " b"}),
    ],
)
def test_a_csv_that_was_read_by_its_commas_is_read_as_before(tmp_path, content, fields):
    assert fields_of(tmp_path / "p.csv", content, named=("prompt", "prompt;style")) == [fields]


def test_a_recipe_reads_a_csv_with_semicolons(load):
    assert [row.prompt for row in load("id;prompt\n1;a red, flat circle\n2;b\n", "p.csv").rows] == [
        "a red, flat circle",
        "b",
    ]
