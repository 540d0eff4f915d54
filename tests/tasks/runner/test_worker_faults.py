"""Worker processes that die, hang or lose their device during a build are replaced, and the build completes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from imagemill.data.config.load import load_recipe
from tests.conftest import write_prompts
from tests.flows.build.test_build_dataset import rows_of

GOOD = ["a fox", "a kite", "once hang", "a ring", "a cat", "once assert", "a star"]


@pytest.fixture(scope="module")
def disturbed(server: str, model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A build with rows that hang or break their worker once, or always kill it; and a build without these."""
    from benchmarks.shared_cluster import shared_cluster
    from imagemill.flows.build_dataset import build_dataset
    from imagemill.tasks.runner.gpu_task_runner import GpuTaskRunner

    folder = tmp_path_factory.mktemp("disturbed")
    fields = {
        "name": "disturbed",
        "prompts": str(folder / "prompts.jsonl"),
        "output": str(folder / "out"),
        "generate": {"model": str(model), "steps": 1, "width": 64, "height": 64, "batch_size": 4},
        "shard_size": 4,
        "batch_timeout": 3,
        "max_set_aside": 0.5,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMAGEMILL_PIPELINE", "tests.models.faulty:deadly")
        patch.setenv("IMAGEMILL_FAULTS", str(folder))
        with shared_cluster(2) as address:
            flow = build_dataset.with_options(task_runner=GpuTaskRunner(address=address))
            write_prompts(Path(fields["prompts"]), [*GOOD[:4], "always kill", *GOOD[4:]])
            first = flow(load_recipe(fields))
            write_prompts(Path(fields["prompts"]), GOOD)
            second = flow(load_recipe({**fields, "output": str(folder / "undisturbed")}))
    return {"first": first, "second": second, "output": folder / "out"}


@pytest.mark.slow
def test_every_worker_that_dies_hangs_or_loses_its_device_is_replaced_and_no_pixel_changes(disturbed: dict[str, Any]):
    first, second = disturbed["first"], disturbed["second"]
    assert first["status"] == "complete"
    assert sorted(row["prompt"] for row in rows_of(disturbed["output"])) == sorted(GOOD)
    assert first["fingerprint"] == second["fingerprint"]
    assert (second["generated"], second["set_aside"]) == (7, 0)


@pytest.mark.slow
def test_a_row_that_kills_every_worker_is_set_aside_with_its_reason(disturbed: dict[str, Any]):
    (line,) = (disturbed["output"] / "set_aside.jsonl").read_text().splitlines()
    aside = json.loads(line)
    assert (aside["stage"], aside["line"], aside["attempts"]) == ("generate", 5, 3)
    assert aside["reason"] == "3 worker processes ended while it was generated: killed, or out of host memory"
