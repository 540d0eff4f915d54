"""A fault or a kill at any write of a build: one sentence, nothing lost, and the next build ends undisturbed."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, write_prompts
from tests.faults.shim import KILL, Faults

FOREVER = 10**6

ADVICE = {
    errno.ENOSPC: r"Free disk space and run the build again, or give recipe\.output|has space and may be written",
    errno.EROFS: r"Mount it for writing|may be written|the system's log names the device",
    errno.EIO: r"the system's log names the device|may be written",
    errno.EACCES: r"Get the right to write there|may be written|the system's log names the device",
}
"""Errno -> what its sentence says; SQLite reports several of them as one."""

Points = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def points(library: Path, faults: Faults, tmp_path: Path) -> Points:
    """Builds with a fault at every ``step``th call that changes the output folder; returns what came of each."""

    def run(action: int, step: int, times: int = 1, is_grown: bool = False) -> list[dict[str, Any]]:
        write_prompts(tmp_path / "prompts.jsonl", [f"number {number}" for number in range(8)])
        write_prompts(tmp_path / "before.jsonl", [f"number {number}" for number in range(3, 12)])
        step_fields = {"model": "bundled", "steps": 1, "batch_size": 2}
        edit = {**step_fields, "instructions": ["make it red"]}
        request = {
            "folder": str(tmp_path),
            "fields": {
                "name": "small",
                "prompts": str(tmp_path / "prompts.jsonl"),
                "generate": {**step_fields, "width": 64, "height": 64},
                "edit": edit,
                "shard_size": 2,
            },
            **{"action": action, "start": 1 + step // 2, "step": step, "times": times},
        }
        if is_grown:
            more = {**edit, "instructions": ["make it red", "make it big"]}
            request["before"] = {"prompts": str(tmp_path / "before.jsonl"), "edit": more}
        done = subprocess.run(
            [sys.executable, "-m", "tests.faults.plain_build", json.dumps(request)],
            env={**os.environ, **faults.environment(library)},
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )
        assert done.returncode == 0, done.stderr
        undisturbed, *found = [json.loads(line) for line in done.stdout.splitlines()]
        assert undisturbed["code"] == 0, undisturbed
        assert len(found) == len(range(1 + step // 2, undisturbed["calls"] + 1, step)) > 5
        for point in found:
            check(point, undisturbed["fingerprint"])
        return found

    return run


def check(point: dict[str, Any], fingerprint: str) -> None:
    """The build after the fault ends as an undisturbed one, and generates nothing that was there."""
    assert point["failed"] >= 1, point
    assert point["code"] in (0, 1, -9), point["message"]
    assert (point["last"], point["fingerprint"]) == (0, fingerprint), point
    assert point["lost"] == [], point
    # The batch in flight.
    assert point["twice"] <= 2, point
    assert point["verified"], point
    assert point["left"] == ["files.jsonl", "folder.json", "paths.json"], point


def check_sentences(found: list[dict[str, Any]], error: int) -> None:
    """Builds that failed ended with the sentence for this error."""
    failed = [point for point in found if point["code"] == 1]
    assert len(failed) > len(found) // 2
    for point in failed:
        assert re.search(ADVICE[error], point["message"]), point
        assert "\n" not in point["message"]
        assert len(point["message"]) < 600
        assert "Free disk space" not in point["message"] or error == errno.ENOSPC, point


ALL = [pytest.param(25, id="some calls"), pytest.param(1, id="every call", marks=pytest.mark.long)]


@pytest.mark.parametrize("step", ALL)
@pytest.mark.parametrize("is_grown", [False, True], ids=["new dataset", "dataset that changes"])
def test_a_kill_at_a_write_loses_nothing_and_repeats_only_the_batch_in_flight(
    points: Points, step: int, is_grown: bool
):
    assert {point["code"] for point in points(KILL, step, is_grown=is_grown)} == {-9}


@pytest.mark.parametrize("step", ALL)
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC], ids=errno.errorcode.get)
def test_one_failing_write_ends_a_build_with_one_sentence(points: Points, step: int, error: int):
    check_sentences(points(error, step), error)


@pytest.mark.parametrize(
    "step", [pytest.param(40, id="some calls"), pytest.param(3, id="a third", marks=pytest.mark.long)]
)
@pytest.mark.parametrize("error", list(ADVICE), ids=errno.errorcode.get)
def test_a_disk_that_fails_from_a_write_on_ends_a_build_with_one_sentence(points: Points, step: int, error: int):
    check_sentences(points(error, step, times=FOREVER), error)
