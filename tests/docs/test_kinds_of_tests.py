"""The kinds of tests in docs/status.md follow from the fixtures and helpers that a test file uses."""

from __future__ import annotations

import sys

import pytest

from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "docs/tools"))
from test_kinds import filled, kinds_of


@pytest.mark.parametrize(
    ("file", "kinds"),
    [
        ("data/scores/test_splits.py", {"unit"}),
        ("data/export/test_push.py", {"stand-in"}),
        ("data/scores/test_journal.py", {"kill"}),
        ("models/loading/test_schedulers.py", {"tiny"}),
        ("flows/prefect_server/test_work_pool.py", {"server"}),
        ("tasks/runner/test_killed_builds.py", {"kill", "server", "tiny"}),
        ("tasks/runner/test_ports.py", {"server", "tiny"}),
    ],
)
def test_a_file_has_the_kinds_of_what_it_uses_and_a_kill_that_only_cleans_up_is_none(file: str, kinds: set[str]):
    assert kinds_of(ROOT / "tests" / file) == kinds


def test_a_row_has_the_marks_of_all_files_that_it_names():
    head = "| feature | tests | unit | server | kill | stand-in | tiny | not run |"
    row = (
        "| scores | `tests/data/scores/test_splits.py`, `tests/data/scores/test_journal.py` | x | x | | x | x | more |"
    )
    lines, named = filled([head, row])
    assert lines[1].split("|")[3:8] == [" x ", " ", " x ", " ", " "]
    assert {file.name for file in named} == {"test_splits.py", "test_journal.py"}
