"""When a command returns, none of its processes is left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml

from tests.conftest import small_fields

MARK = "IMAGEMILL_TEST_COMMAND"


def marked(value: str) -> list[str]:
    """Commands of the processes that have the mark in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == value:
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


@pytest.mark.slow
def test_a_build_that_has_returned_leaves_no_process(model: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(small_fields(tmp_path, model)))
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    environment |= {MARK: str(tmp_path), "HOME": str(tmp_path / "home")}
    # A pipe would end with the last process that holds it, which is what is looked for.
    with open(tmp_path / "output", "w") as output:
        done = subprocess.run(
            [sys.executable, "-m", "imagemill", "build", str(recipe)],
            env=environment,
            cwd=tmp_path,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=300,
            check=False,
        )
    assert marked(str(tmp_path)) == []
    assert done.returncode == 0, (tmp_path / "output").read_text()
