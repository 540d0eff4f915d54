"""A kill at any write while rows move between areas and splits: none is lost, and the next rule finds each once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.faults.shim import Faults

SOME, ALL = pytest.param(7, id="some calls", marks=pytest.mark.slow), pytest.param(1, id="all", marks=pytest.mark.long)


@pytest.mark.parametrize("step", [SOME, ALL])
def test_a_kill_at_any_write_loses_no_row_and_the_next_rule_finds_each_once(
    library: Path, faults: Faults, tmp_path: Path, step: int
):
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.plain_settle", str(tmp_path), str(step)],
        env={**os.environ, **faults.environment(library)},
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    undisturbed, *points = [json.loads(line) for line in done.stdout.splitlines()]
    assert undisturbed["code"] == 0
    assert len(points) == len(range(0, undisturbed["calls"], step)) > 5
    for point in points:
        assert point["killed"] == [-9, 1], point
        assert point["lost"] == [], point
        assert point["codes"] == [0, 0], (point, done.stderr)
        assert point["on"] == undisturbed["on"], point
        # The row that leaves is there only until the kill has reached it.
        gone = {key: rows for key, rows in undisturbed["back"].items() if key not in point["back"]}
        assert {**point["back"], **gone} == undisturbed["back"], point
        assert len(gone) <= 1
        assert point["merges"] == []
