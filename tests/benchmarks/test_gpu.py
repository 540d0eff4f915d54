"""The GPU benchmark runs: its tiny model generates on the CPU as a worker does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.gpu import Method, write_configs
from imagemill.data.staging.store import Staging


def test_the_gpu_benchmark_generates_as_a_worker_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("IMAGEMILL_PIPELINE", "benchmarks.flux_dimensions:make_pipeline")
    monkeypatch.setenv("IMAGEMILL_BENCHMARK_TINY", "1")
    monkeypatch.setattr("imagemill.models.loading.pipeline_cache._resident", {})
    method = Method("imagemill", write_configs(tmp_path / "model"), tmp_path, torch.device("cpu"))
    method.generate(side=64, steps=2, batch=2, batches=2)
    assert len(Staging(tmp_path / "imagemill").names()) == 4
