"""What an earlier version built goes on: nothing in it is generated again, and no row of it is lost.

The folders beside this file were built by make_datasets.py with version 0.1.0 as of commit 23b7fcf, whole and killed in
mid-build; expected.json says what that version made of each with one more build.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from imagemill.flows.verify_dataset import verify_dataset
from imagemill.tasks.runner.gpu_task_runner import GpuTaskRunner
from tests.conftest import Build

HERE = Path(__file__).parent
EXPECTED: dict[str, dict[str, Any]] = json.loads((HERE / "expected.json").read_text())


@pytest.mark.parametrize("name", EXPECTED)
def test_a_dataset_of_an_earlier_version_goes_on_with_nothing_generated_again(
    name: str, build: Build, tmp_path: Path
) -> None:
    case = shutil.copytree(HERE / name, tmp_path / name)
    recipe = yaml.safe_load((case / "recipe.yaml").read_text())
    # Workers that are up already have a working directory of their own.
    paths = {field: str(case / recipe[field]) for field in ("prompts", "output") if field in recipe}
    before = columns(case, "sha256")
    figures = build(recipe | paths)
    found = figures | {"row_keys": sorted(columns(case, "row_key"))}
    assert {key: found[key] for key in EXPECTED[name]} == EXPECTED[name]
    assert set(before) <= set(columns(case, "sha256"))
    # What it adds is written as what it had: its packets have no field of a later encoding version.
    images = [image["bytes"] for image in columns(case, "edited_image") or columns(case, "image")]
    assert images
    assert not any(b"AISystemUsed" in image or b"trainedAlgorithmicMedia" not in image for image in images)


@pytest.mark.parametrize("name", ["chain", "multi-turn"])
def test_rows_of_an_earlier_version_are_regenerated_by_their_manifest(
    name: str, cluster: str, server: str, tmp_path: Path
) -> None:
    case = shutil.copytree(HERE / name, tmp_path / name)
    flow = verify_dataset.with_options(task_runner=GpuTaskRunner(address=cluster))
    # Their pixels depend on the machine.
    assert flow(str(case / "dataset"), regenerate=1)["regenerated"] == 1


def columns(case: Path, name: str) -> list[str]:
    """One column of all the case's files."""
    files = sorted((case / "dataset" / "data").glob("*.parquet"))
    tables = [pq.read_table(file) for file in files]
    return [value for table in tables if name in table.column_names for value in table[name].to_pylist()]
