"""Store of step results: a checked JSON file per finished step, and nothing that could run code."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from imagemill.data.records import Failure, StepReport, WorkerStats
from imagemill.data.staging.step_results import MAX_BYTES, StepResults

KEY = f"generate-{'0' * 32}"
IMAGES = ["a" * 32, "b" * 32, "c" * 32]
FAILED = {IMAGES[1]: {"reason": "black", "attempts": 2}}


@pytest.fixture
def results(tmp_path: Path) -> StepResults:
    return StepResults(tmp_path / "results")


def write(results: StepResults, content: Any, name: str = f"{KEY}.json") -> Path:
    results.folder.mkdir(exist_ok=True)
    path = results.folder / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def test_a_finished_step_is_found_with_its_failures_and_all_other_images_reused(results: StepResults):
    report = StepReport(failed={IMAGES[1]: Failure("black", 2)}, stats=WorkerStats(device="cpu", generated=2))
    results.put(KEY, report)
    found = results.find(KEY, IMAGES)
    assert found == StepReport(reused=2, failed=report.failed, stats=WorkerStats(device="cpu"))
    assert [path.name for path in results.folder.iterdir()] == [f"{KEY}.json"]


def test_a_step_without_a_result_is_not_found(results: StepResults):
    assert results.find(KEY, IMAGES) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x05N.",
        b'{"key": "gen',
        b"[" * 100_000,
        [],
        None,
        "text",
        {},
        {"key": KEY, "device": "cpu"},
        {"key": f"edit-{'0' * 32}", "device": "cpu", "failed": {}},
        {"key": KEY, "device": 7, "failed": {}},
        {"key": KEY, "device": "cpu", "failed": []},
        {"key": KEY, "device": "cpu", "failed": {}, "reused": 3},
        {"key": KEY, "device": "cpu", "failed": {IMAGES[0]: {"reason": "black", "attempts": -1}}},
        {"key": KEY, "device": "cpu", "failed": {IMAGES[0]: {"reason": "black", "attempts": "1"}}},
        {"key": KEY, "device": "cpu", "failed": {IMAGES[0]: {"reason": None, "attempts": 1}}},
        {"key": KEY, "device": "cpu", "failed": {"d" * 32: {"reason": "of no image of this step", "attempts": 1}}},
        {"key": KEY, "device": "cpu", "failed": {IMAGES[0]: {"__class__": "subprocess.Popen", "data": ["true"]}}},
        {"__class__": "imagemill.data.records.StepReport", "data": {"reused": 3}},
        {"metadata": {"storage_key": KEY, "serializer": {"type": "pickle"}}, "result": "gAVOLg=="},
    ],
    ids=lambda content: repr(content)[:60],
)
def test_a_result_that_fails_the_check_counts_as_missing(results: StepResults, content: Any):
    write(results, {"key": KEY, "device": "cpu", "failed": FAILED})
    assert results.find(KEY, IMAGES) is not None
    write(results, content)
    assert results.find(KEY, IMAGES) is None


def test_a_result_that_is_too_large_counts_as_missing(results: StepResults):
    write(results, json.dumps({"key": KEY, "device": "cpu", "failed": {}}).encode() + b" " * MAX_BYTES)
    assert results.find(KEY, IMAGES) is None


def test_a_folder_in_place_of_a_result_counts_as_missing(results: StepResults):
    (results.folder / f"{KEY}.json").mkdir(parents=True)
    assert results.find(KEY, IMAGES) is None


def test_pickles_of_an_earlier_version_are_deleted_unread(results: StepResults, tmp_path: Path):
    pickled = write(results, pickle.dumps(Touch(tmp_path / "ran")), name=KEY)
    kept = write(results, {"key": KEY, "device": None, "failed": {}})
    results.remove_others()
    assert not pickled.exists()
    assert kept.exists()
    assert not (tmp_path / "ran").exists()


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)
