"""Without a GPU a dataset keeps the number of torch threads that it was begun with: the last bits depend on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from imagemill.data.config.load import load_recipe
from imagemill.data.dataset.folder import Folder
from imagemill.data.errors import OutputError
from imagemill.flows.build_dataset import build_dataset
from imagemill.flows.verify_dataset import verify_dataset
from imagemill.tasks.pinned import pin_threads, pinned_threads
from imagemill.tasks.runner.cluster import cores
from imagemill.tasks.runner.gpu_task_runner import GpuTaskRunner
from tests.conftest import small_fields, write_prompts
from tests.models.tiny import save_tiny

SMALL = 20_000_000
"""Bytes of a model of which several fit into memory."""


@pytest.fixture
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)), raising=False)


def test_a_new_dataset_gets_the_threads_of_as_many_workers_as_are_fastest(eight_cores: None):
    runner = GpuTaskRunner()
    runner.size_for(1, SMALL, lambda threads: threads)
    assert (runner.workers, runner.cpu_threads) == (1, 1)


def test_a_dataset_that_was_begun_with_more_threads_gets_fewer_workers(eight_cores: None):
    runner = GpuTaskRunner()
    runner.size_for(100, SMALL, lambda threads: 4)
    assert (runner.workers, runner.cpu_threads) == (2, 4)


def test_the_users_number_of_workers_stands(eight_cores: None):
    runner = GpuTaskRunner(workers=3)
    runner.size_for(100, SMALL, lambda threads: 8)
    assert (runner.workers, runner.cpu_threads) == (3, 8)


@pytest.mark.parametrize("pinned", [0, -1, True, "2", 2**40])
def test_threads_that_no_build_has_pinned_are_refused(tmp_path: Path, pinned: Any):
    folder = Folder(str(tmp_path))
    with folder.lock("one"):
        folder.pin("cpu_threads", lambda: pinned)
        with pytest.raises(OutputError, match="pins 'cpu_threads'"):
            pin_threads(folder, 1)
    with pytest.raises(OutputError, match="pins 'cpu_threads'"):
        pinned_threads(folder)


@pytest.mark.slow
@pytest.mark.skipif(cores() < 2, reason="one core: one thread in any case")
def test_rows_that_are_added_by_more_workers_have_the_pixels_of_one(server: str, tmp_path: Path):
    fields = small_fields(tmp_path, save_tiny("StableDiffusionPipeline", tmp_path))
    del fields["edit"]
    prompts = [f"a fox and {number} kites" for number in range(24)]

    def build(workers: int, count: int, output: str) -> str:
        write_prompts(Path(fields["prompts"]), prompts[:count])
        recipe = load_recipe(json.loads(json.dumps(fields)), {"output": str(tmp_path / output)})
        return build_dataset.with_options(task_runner=GpuTaskRunner(workers=workers))(recipe)["fingerprint"]

    whole = build(1, 24, "whole")
    build(1, 2, "grown")
    assert build(2, 24, "grown") == whole
    # A verification has one worker, and so all cores' threads, unless the dataset says otherwise.
    build(2, 24, "halves")
    report = verify_dataset(str(tmp_path / "halves"), regenerate=24)
    assert (report["regenerated"], report["regenerated_otherwise"]) == (24, 0)
