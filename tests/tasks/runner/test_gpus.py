"""The GPUs of each worker, from the drivers' tools and variables, and the statistics of each worker."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imagemill.data.errors import RecipeError
from imagemill.data.records import StepReport, WorkerStats
from imagemill.tasks.progress import Progress
from imagemill.tasks.runner.cluster import worker_options
from imagemill.tasks.runner.gpus import ALLOCATOR, choose_gpus, gpu_environment, parse_nvidia, visible_gpus
from imagemill.tasks.worker_stats import log_line, run_figures

LISTED = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77)
  MIG 3g.20gb     Device  0: (UUID: MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f)
  MIG 3g.20gb     Device  1: (UUID: MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-e97f6f5c-1b3a-8d0e-8a34-1fd0d5e4f9c2)
"""


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No driver tools or variables, whatever this machine has."""
    monkeypatch.setenv("PATH", "")
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", *ALLOCATOR):
        monkeypatch.delenv(name, raising=False)


def tool(folder: Path, name: str, output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "output").write_text(output)
    (folder / name).write_text(f"#!/bin/sh\n/bin/cat {folder}/output\n")
    (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_a_partitioned_gpu_counts_as_its_mig_slices():
    first, second = "MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f", "MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb"
    assert parse_nvidia(LISTED) == [first, second, "1"]


def test_the_drivers_tool_lists_the_gpus_if_no_variable_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tool(tmp_path, "nvidia-smi", "GPU 0: A (UUID: GPU-a)\nGPU 1: B (UUID: GPU-b)\n", monkeypatch)
    assert visible_gpus() == ["0", "1"]


def test_rocm_gpus_are_found_and_assigned_by_rocms_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tool(tmp_path, "rocm-smi", "GPU[0]\t\t: Device: MI300X\nGPU[0]\t\t: GUID: 1\nGPU[1]\t\t: Device\n", monkeypatch)
    assert visible_gpus() == ["0", "1"]
    assert gpu_environment("1")["HIP_VISIBLE_DEVICES"] == "1"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("2,0", ["2", "0"]),
        ("GPU-5d5ba0d6, MIG-c6d4f1ef", ["GPU-5d5ba0d6", "MIG-c6d4f1ef"]),
        ("", []),
        ("-1", []),
    ],
)
def test_cuda_visible_devices_limits_the_gpus(value: str, found: list[str], monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert visible_gpus() == found


def test_each_worker_sees_one_of_the_chosen_gpus(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    choose_gpus("0,2")
    gpus = visible_gpus()
    seen = [worker_options(number, 2, gpus)["env"]["CUDA_VISIBLE_DEVICES"] for number in range(2)]
    assert seen == ["0", "2"]


def test_a_worker_with_a_gpu_gets_expandable_segments_unless_the_user_set_the_allocator(
    monkeypatch: pytest.MonkeyPatch,
):
    set_here = "PYTORCH_ALLOC_CONF"
    assert worker_options(0, 1, ["0"])["env"][set_here] == "expandable_segments:True"
    assert set_here not in worker_options(0, 1, [])["env"]
    for name in ALLOCATOR:
        with monkeypatch.context() as patch:
            patch.setenv(name, "max_split_size_mb:512")
            environment = worker_options(0, 1, ["0"])["env"]
            assert {key: environment.get(key) for key in ALLOCATOR if key in environment} == {name: os.environ[name]}


def test_an_unknown_gpu_is_refused_with_the_visible_ones(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(RecipeError, match=r"--gpus is '0,7', and the GPUs that this process may use are 0, 1"):
        choose_gpus("0,7")


def test_without_a_gpu_the_workers_share_the_cores(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)), raising=False)
    assert [worker_options(0, count, [])["env"]["OMP_NUM_THREADS"] for count in (1, 4, 16)] == ["8", "2", "1"]


def test_without_cpu_affinity_all_cores_count(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    assert worker_options(0, 2, [])["env"]["OMP_NUM_THREADS"] == "3"


def test_the_steps_of_a_worker_add_up_to_its_statistics():
    progress = Progress()
    for device, peak, utilisation in (("NVIDIA A100", 12.5, 270.0), (None, 3.0, 210.0)):
        stats = WorkerStats(device, 10, 14.0, 4.0, 9.5, 0.5, moves=1, peak_gib=peak, utilisation=utilisation, samples=3)
        progress.step_done(StepReport(worker="a", stats=stats))
    run = run_figures(progress.workers, 40.0)
    assert (progress.generated, progress.worker_seconds) == (20, 28.0)
    assert (run["device_idle"], run["model_moves"]) == (0.05, 2)
    assert log_line("a", run["workers"]["a"]) == (
        "Worker a (NVIDIA A100): 20 images, 0.5 images/s; 8.0 s loading, 19.0 s generating, 1.0 s waiting; "
        "peak memory 12.5 GiB, utilisation 80 %."
    )
