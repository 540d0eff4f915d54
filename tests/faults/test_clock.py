"""A clock that is set back or forward, and files with times to come, change nothing about a dataset."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from imagemill.data.dataset.folder import Folder
from imagemill.data.staging.store import Staging
from tests.conftest import wait_until, write_prompts
from tests.faults.conftest import IMAGES, Small, fingerprint_of
from tests.faults.shim import Faults

HOUR = 3600


def test_the_shim_shifts_the_clock_of_a_process(library: Path, faults: Faults):
    faults.shift_clock(-HOUR)
    done = subprocess.run(
        [sys.executable, "-c", "import time, datetime; print(time.time(), datetime.datetime.now().timestamp())"],
        env={**os.environ, **faults.environment(library)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(abs(float(now) + HOUR - time.time()) < HOUR / 2 for now in done.stdout.split())


def last_run(small: Small) -> dict:
    return json.loads((small.output / "runs.jsonl").read_text().splitlines()[-1])


@pytest.mark.long
@pytest.mark.parametrize("seconds", [-HOUR, HOUR], ids=["back", "forward"])
def test_a_clock_that_is_set_while_a_build_runs_and_between_builds_changes_nothing(
    small: Small, faults: Faults, expected: Callable[[Small], str], seconds: int
):
    fingerprint = expected(small)
    process = small.start()
    staged = small.output / ".imagemill" / "staged"
    wait_until(lambda: Staging(staged).names() or process.poll() is not None, "a staged image")
    faults.shift_clock(seconds)
    out, errors = process.communicate(timeout=300)
    assert (process.returncode, errors) == (0, "")
    assert f"Fingerprint: {fingerprint}" in out
    faults.shift_clock(2 * seconds)
    again = small.build()
    assert (again.code, fingerprint_of(again)) == (0, fingerprint)
    assert last_run(small)["generated"] == 0
    faults.shift_clock(-seconds)
    small.fields["prompts"] += ".more"
    write_prompts(Path(small.fields["prompts"]), [f"number {number}" for number in range(IMAGES // 2 + 1)])
    grown = small.build()
    assert (grown.code, last_run(small)["generated"]) == (0, 2), grown.errors


@pytest.mark.long
def test_a_build_that_is_killed_and_resumed_an_hour_earlier_loses_nothing(
    small: Small, faults: Faults, expected: Callable[[Small], str]
):
    fingerprint = expected(small)
    faults.arm(errno.EIO, f"{small.output}/manifest.json", calls=("rename",))
    assert small.build().code == 1
    faults.disarm()
    faults.shift_clock(-HOUR)
    resumed = small.build()
    assert (resumed.code, fingerprint_of(resumed)) == (0, fingerprint)
    assert last_run(small)["generated"] == 0


def test_files_with_times_to_come_are_recognised_by_their_content(tmp_path: Path, library: Path, faults: Faults):
    from tests.faults.plain_build import plain_build

    write_prompts(tmp_path / "prompts.jsonl", ["a fox", "a kite"])
    generate = {"model": "bundled", "steps": 1, "width": 64, "height": 64}
    fields = {"name": "small", "prompts": str(tmp_path / "prompts.jsonl"), "output": str(tmp_path / "out")}
    fields["generate"] = generate
    log = tmp_path / "log"
    fingerprint = plain_build(fields, log)
    before = log.read_text()
    later = time.time() + 365 * 24 * HOUR
    for path in (tmp_path / "out").rglob("*"):
        os.utime(path, (later, later))
    assert Folder(tmp_path / "out").committed()[1] == []
    assert plain_build(fields, log) == fingerprint
    assert log.read_text() == before
