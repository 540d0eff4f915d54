"""The GPU's benchmark stays ready for whoever has one: its tiny model is generated with here as a worker generates."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.gpu import EditPath, write_configs
from imagemill.data.staging.store import Staging


def test_the_gpu_benchmark_generates_as_a_worker_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("IMAGEMILL_PIPELINE", "benchmarks.flux_dimensions:make_pipeline")
    monkeypatch.setenv("IMAGEMILL_BENCHMARK_TINY", "1")
    monkeypatch.setattr("imagemill.models.loading.pipeline_cache._resident", {})
    way = EditPath("imagemill", write_configs(tmp_path / "model"), tmp_path, torch.device("cpu"))
    way.draw(side=64, steps=2, batch=2, batches=2)
    assert len(Staging(tmp_path / "imagemill").names()) == 4
