"""Whole builds on a disk that fails: one sentence, exit code 1, and the next build ends undisturbed."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from tests.faults.conftest import Small, fingerprint_of
from tests.faults.shim import WRITES, Faults

FOREVER = 10**6

PLACES = {
    "the lock": "*/.imagemill/lock",
    "the folder's record": "*/folder.json*",
    "the worklist": "*/plan.sqlite*",
    "marks of images in flight": "*/under-way/*",
    "staged images": "*.staged*",
    "files before they are committed": "*/tmp/train-*",
    "the journal": "*/files.jsonl",
    "committed files": "*/data/train-*",
    "the merge's record": "*/merge.json*",
    "the card": "*/README.md*",
    "the manifest": "*/manifest.json*",
    "the runs": "*/runs.jsonl",
}
"""What a build writes, and the pattern of its paths below the output folder."""

SENTENCES = {
    errno.ENOSPC: "Free disk space and run the build again",
    errno.EIO: "the system's log names the device|has space and may be written",
}


def check_one_sentence(errors: str, error: int) -> None:
    """The terminal has one line, which says what to do about this error."""
    [line] = errors.splitlines()
    assert line.startswith("imagemill: cannot ")
    assert re.search(SENTENCES[error], line), line
    assert ("Free disk space" in line) == (error == errno.ENOSPC)


def _points() -> Iterator[ParameterSet]:
    for place in PLACES:
        for error in SENTENCES:
            is_quick = (place, error) == ("staged images", errno.EIO)
            marks = () if is_quick else pytest.mark.long
            yield pytest.param(place, error, id=f"{place}: {errno.errorcode[error]}", marks=marks)


@pytest.mark.parametrize(("place", "error"), list(_points()))
def test_a_disk_that_fails_ends_a_build_with_one_sentence_and_the_next_build_goes_on(
    small: Small, faults: Faults, expected: Callable[[Small], str], place: str, error: int
):
    fingerprint = expected(small)
    faults.arm(error, f"{small.output}{PLACES[place]}", times=FOREVER, calls=WRITES)
    ended = small.build()
    assert faults.failed >= 1
    assert ended.code == 1, ended
    check_one_sentence(ended.errors, error)
    faults.disarm()
    again = small.build()
    assert again.code == 0, again.errors
    assert fingerprint_of(again) == fingerprint


@pytest.mark.long
def test_results_of_tasks_that_cannot_be_stored_do_not_stop_a_build(
    small: Small, faults: Faults, expected: Callable[[Small], str]
):
    fingerprint = expected(small)
    faults.arm(errno.EIO, f"{small.output}/.imagemill/results/*", times=FOREVER)
    ended = small.build()
    assert faults.failed >= 1
    assert (ended.code, ended.errors) == (0, "")
    assert fingerprint_of(ended) == fingerprint


@pytest.mark.long
def test_a_folder_for_temporary_files_that_takes_no_file_is_passed_over(
    small: Small, faults: Faults, expected: Callable[[Small], str], tmp_path: Path
):
    fingerprint = expected(small)
    (tmp_path / "full").mkdir()
    faults.arm(errno.ENOSPC, f"{tmp_path}/full/*", times=FOREVER)
    ended = small.build(TMPDIR=str(tmp_path / "full"))
    assert faults.failed >= 1
    assert (ended.code, ended.errors) == (0, "")
    assert fingerprint_of(ended) == fingerprint


@pytest.mark.long
def test_a_folder_for_temporary_files_that_fills_up_ends_each_command_with_one_sentence(
    small: Small, faults: Faults, tmp_path: Path
):
    full = tmp_path / "full"
    full.mkdir()
    # Python's trial file still fits.
    faults.arm(errno.ENOSPC, f"{full}/*", times=FOREVER, calls=("mkdir",))
    ended = small.build(TMPDIR=str(full))
    assert faults.failed >= 1
    [line] = ended.errors.splitlines()
    assert ended.code == 1
    assert re.match(r"imagemill: .*No space left on device.*/full/.*\.", line), line
    faults.disarm()
    assert small.build().code == 0
    faults.arm(errno.ENOSPC, f"{full}/*", times=FOREVER, calls=("mkdir",))
    for command in (("plan", str(small.path)), ("verify", str(small.output), "--regenerate", "1")):
        ended = small.run(*command, TMPDIR=str(full))
        assert ended.code == 1, ended
        [line] = ended.errors.splitlines()
        assert re.match(r"imagemill: .*/full/.*No space left on device\..*", line), line


@pytest.mark.long
def test_a_missing_folder_for_temporary_files_is_passed_over(
    small: Small, expected: Callable[[Small], str], tmp_path: Path
):
    fingerprint = expected(small)
    ended = small.build(TMPDIR=str(tmp_path / "none"))
    assert (ended.code, ended.errors) == (0, "")
    assert fingerprint_of(ended) == fingerprint
