"""The device does not wait for the CPU: the next shard is generated while the previous one is encoded."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagemill.data.config.load import load_recipe
from tests.conftest import small_fields


def test_a_worker_generates_its_next_shard_while_the_previous_one_is_encoded(
    server: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from imagemill.flows.build_dataset import build_dataset
    from imagemill.tasks.runner.gpu_task_runner import GpuTaskRunner

    monkeypatch.setenv("IMAGEMILL_PIPELINE", "tests.models.held:counted")
    # Two shards of one batch each.
    fields = small_fields(tmp_path, model) | {"edit": None}
    figures = build_dataset.with_options(task_runner=GpuTaskRunner(workers=1))(load_recipe(fields))
    assert (figures["status"], figures["generated"], figures["set_aside"]) == ("complete", 4, 0)
