"""Whole builds, killed with all their processes at chosen calls of each phase: nothing is lost, no pixel changes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.faults.conftest import IMAGES, Ended, Small, fingerprint_of
from tests.faults.plain_build import kept_images
from tests.faults.shim import KILL, KILL_GROUP, Faults

PHASES = {
    "planning": (("create", "write"), "*/plan.sqlite*", (1, 2, 3, 4, 5)),
    "generating": (("create", "write", "rename", "unlink", "mkdir"), "*/under-way/*", (1, 4, 7, 9, 13)),
    "staging": (("create", "write", "rename"), "*.staged*", (1, 2, 3, 6, 10)),
    "committing": (("create", "write", "fsync", "rename"), "*/train-*|*/files.jsonl", (1, 3, 5, 7, 9)),
    "merging": (("create", "write", "fsync", "rename", "unlink"), "*/merge.json*|*/data/train-*", (5, 6, 7, 8, 11)),
    "publishing": (
        ("create", "write", "fsync", "rename"),
        "*/manifest.json*|*/README.md*|*/contact_sheet.jpg*|*/runs.jsonl",
        (1, 4, 6, 9, 12),
    ),
}
"""Phase -> the calls and paths that belong to it, and which of its calls a build is killed at."""


def check_files(output: Path) -> None:
    """Every visible file is whole, and a manifest names the files that are there."""
    for path in output.glob("data/*"):
        pq.read_table(path)
    if (output / "manifest.json").exists():
        manifest = json.loads((output / "manifest.json").read_text())
        assert {file["name"] for file in manifest["files"]} <= {path.name for path in output.glob("data/*")}


def finish(small: Small, faults: Faults, expected: str, kept: set[str]) -> None:
    """An undisturbed build generates what was not there, and nothing else."""
    faults.disarm()
    last: Ended = small.build()
    assert last.code == 0, last.errors
    assert fingerprint_of(last) == expected
    run = json.loads((small.output / "runs.jsonl").read_text().splitlines()[-1])
    assert run["generated"] == IMAGES - len(kept)
    state = {path.name for path in (small.output / ".imagemill").iterdir()}
    assert state - {"paths.json"} == {"files.jsonl", "folder.json"}


@pytest.mark.long
@pytest.mark.parametrize("phase", PHASES)
def test_five_kills_in_a_phase_lose_nothing_and_change_no_pixel(
    small: Small, faults: Faults, expected: Callable[[Small], str], phase: str
):
    fingerprint = expected(small)
    calls, patterns, points = PHASES[phase]
    paths = "|".join(f"{small.output}{pattern}" for pattern in patterns.split("|"))
    kept: set[str] = set()
    for at in points:
        faults.arm(KILL_GROUP, paths, at, calls=calls)
        ended = small.build()
        # Each build resumes the killed one, which may have left less of this phase than there is to kill it at.
        if ended.code == 0:
            shutil.rmtree(small.output)
            kept = set()
            faults.arm(KILL_GROUP, paths, at, calls=calls)
            ended = small.build()
        assert (ended.code, faults.failed) == (-9, 1), (at, ended)
        faults.disarm()
        check_files(small.output)
        now = kept_images(small.output)
        assert kept <= now
        kept = now
    finish(small, faults, fingerprint, kept)


@pytest.mark.long
def test_a_worker_that_is_killed_while_it_stages_is_replaced_and_its_images_are_generated_again(
    small: Small, faults: Faults, expected: Callable[[Small], str]
):
    fingerprint = expected(small)
    faults.arm(KILL, f"{small.output}*.staged.tmp", 2, calls=("write",))
    ended = small.build()
    assert (ended.code, faults.failed) == (0, 1), ended
    assert fingerprint_of(ended) == fingerprint
