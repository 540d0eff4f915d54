"""A JSON lines file stays readable after a kill during a write."""

import pytest

from imagemill.data.storage.jsonl import append_line, read_lines


def test_a_line_that_a_kill_cut_short_is_skipped(tmp_path):
    path = tmp_path / "files.jsonl"
    append_line(path, {"name": "é", "rows": 1})
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2])
    assert list(read_lines(path)) == [{"name": "é", "rows": 1}]
    append_line(path, {"name": "next"})
    assert list(read_lines(path)) == [{"name": "é", "rows": 1}, {"name": "next"}]


@pytest.mark.parametrize("end", [b'{"name": "\xc3', b"\0\0\0\0", b"5", b"[]"])
def test_garbage_that_a_power_cut_leaves_at_the_end_is_skipped(tmp_path, end):
    path = tmp_path / "files.jsonl"
    append_line(path, {"name": "a"})
    path.write_bytes(path.read_bytes() + end)
    assert list(read_lines(path)) == [{"name": "a"}]


def test_a_missing_file_has_no_lines(tmp_path):
    assert list(read_lines(tmp_path / "none.jsonl")) == []
