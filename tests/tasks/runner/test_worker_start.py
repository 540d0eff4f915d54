"""A worker process that cannot start or import torch is reported in one sentence with the root cause."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from imagemill.data.errors import BuildFailed
from imagemill.data.storage.scratch import scratch_folder
from imagemill.tasks.runner.cluster import start_cluster


def test_a_worker_that_cannot_start_is_reported_in_one_sentence() -> None:
    in_the_way = scratch_folder() / "dask-scratch-space"
    if in_the_way.exists():
        in_the_way.rename(in_the_way.with_name("earlier"))
    in_the_way.touch()
    with pytest.raises(BuildFailed) as caught:
        start_cluster(1, [])
    in_the_way.unlink()
    start, _, end = str(caught.value).partition(str(in_the_way))
    assert start == "a worker process cannot start: [Errno 17] File exists: '"
    assert end.endswith("'. Fix that, and run the build again.")


NO_PLACE = """
import tempfile
from imagemill.data.errors import ImagemillError
from imagemill.tasks.runner.cluster import start_cluster

tempfile.tempdir = "/proc/none"
try:
    start_cluster(1, [])
except ImagemillError as error:
    print(error)
"""


def test_no_place_for_temporary_files_is_reported_in_one_sentence() -> None:
    done = subprocess.run([sys.executable, "-c", NO_PLACE], capture_output=True, text=True, check=True)
    assert (done.stderr, done.stdout) == (
        "",
        "no temporary folder can be made in '/proc/none' (No such file or directory): free disk space, or set TMPDIR "
        "to a folder that can be written.\n",
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
