"""A worker process that cannot start or import torch is reported in one sentence with the root cause."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dask import config

from imagemill.data.errors import BuildFailed
from imagemill.tasks.runner.cluster import start_cluster


def test_a_worker_that_cannot_start_is_reported_in_one_sentence() -> None:
    with config.set({"temporary-directory": "/proc/none"}), pytest.raises(BuildFailed) as caught:
        start_cluster(1, [])
    assert str(caught.value) == (
        "a worker process cannot start: [Errno 2] No such file or directory: '/proc/none'. Mend that, and run the "
        "build again."
    )


@pytest.mark.slow
def test_a_broken_torch_is_reported_in_one_sentence(tmp_path: Path, server: str) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise ImportError('libcudart.so is missing')")
    recipe = {"template": {"text": "a star"}, "generate": {"model": "bundled"}, "output": str(tmp_path / "out")}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    command = [sys.executable, "-m", "imagemill", "build", str(tmp_path / "recipe.yaml")]
    broken = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=broken, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "imagemill: a worker process cannot import what models need: ImportError: libcudart.so is missing. Fix the "
        "installation of torch and diffusers on the worker's machine, and run the build again.\n"
    )
