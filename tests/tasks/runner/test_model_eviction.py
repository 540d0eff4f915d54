"""Two models on a device that holds one: the shards of one model are generated in sequence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from imagemill.data.config.load import load_recipe
from tests.conftest import small_fields, write_prompts

SHARDS, WINDOW = 12, 6


@pytest.mark.slow
def test_models_are_exchanged_once_per_window_not_once_per_shard(
    server: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from imagemill.flows.build_dataset import build_dataset
    from imagemill.tasks.runner.gpu_task_runner import GpuTaskRunner

    monkeypatch.setenv("IMAGEMILL_PIPELINE", "benchmarks.stand_in:make_sleeper")
    monkeypatch.setenv("IMAGEMILL_STAND_IN_SECONDS", "0.25")
    other = tmp_path / "other"
    shutil.copytree(model, other)
    config = other / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "shift": 2.5}))
    fields = small_fields(tmp_path, model)
    fields["edit"]["model"] = str(other)
    write_prompts(Path(fields["prompts"]), [f"number {number}" for number in range(SHARDS * fields["shard_size"])])
    flow = build_dataset.with_options(task_runner=GpuTaskRunner(workers=1, shards=WINDOW))
    figures = flow(load_recipe(fields, {"max_resident": 1}))
    assert (figures["status"], figures["model_loads"]) == ("complete", 2)
    # Each model once per window, two of these loads. Shard by shard it would be almost two moves per shard.
    assert figures["model_moves"] <= 2 * (SHARDS // WINDOW)
