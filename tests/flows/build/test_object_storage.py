"""Datasets built, resumed, grown and read in an object store. See also test_stores.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pyarrow.parquet as pq
import pytest
import s3fs
import yaml

from imagemill.data.config.load import load_recipe
from imagemill.data.dataset.folder import Folder
from imagemill.data.errors import DatasetDiffers
from imagemill.data.staging.store import Staging
from imagemill.data.storage.locations import RemotePath
from imagemill.data.verify.integrity import verify_files
from imagemill.models.drawing.measure_registry import measures_of
from tests.commands import Launch
from tests.conftest import Build, wait_until, write_prompts
from tests.starter import Started


@pytest.fixture
def remote(fields: dict, bucket: str) -> dict[str, Any]:
    """The fields of a recipe whose output is in the object store."""
    return {**fields, "output": f"s3://{bucket}/sets/small"}


@pytest.fixture
def start(server: str, cluster: str, tmp_path: Path, launch: Launch) -> Callable[..., Started]:
    """Starts `imagemill <command>` in a new process."""

    def run(command: str, fields: dict[str, Any], *options: str) -> Started:
        recipe = tmp_path / f"{uuid4()}.yaml"
        recipe.write_text(yaml.safe_dump(fields))
        return launch(command, recipe, *options)

    return run


def keys(bucket: str) -> list[str]:
    listed = boto3.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])
    return [item["Key"].removeprefix("sets/small/") for item in listed]


def runs(fields: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Folder(fields["output"]).runs.read_bytes().splitlines()]


def rows_of(output: str) -> list[dict[str, Any]]:
    paths = sorted(s3fs.S3FileSystem(use_listings_cache=False).glob(f"{output}/data/*.parquet"))
    return [row for path in paths for row in pq.read_table(f"s3://{path}").to_pylist()]


def test_datasets_opens_it_in_the_store(build: Build, remote: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    build(remote)
    import datasets

    # The tests run offline; the store is on this machine.
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", False)
    files = f"{remote['output']}/data/train-*.parquet"
    rows = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert [row["prompt"] for row in rows] == ["a fox", "a kite", "a ring", "a star"]
    assert rows[0]["edited_image"].size == (64, 64)


def test_prompts_and_output_may_both_be_in_the_store(build: Build, remote: dict, bucket: str):
    content = Path(remote["prompts"]).read_bytes()
    boto3.client("s3").put_object(Bucket=bucket, Key="prompts.jsonl", Body=content)
    figures = build(remote, {"prompts": f"s3://{bucket}/prompts.jsonl"})
    assert (figures["status"], figures["generated"]) == ("complete", 8)


def test_the_manifest_is_put_after_everything_it_describes(build: Build, remote: dict, monkeypatch: pytest.MonkeyPatch):
    puts, put = [], RemotePath.put

    def recorded(path: RemotePath, local: Path) -> None:
        put(path, local)
        puts.append(path.name)

    monkeypatch.setattr(RemotePath, "put", recorded)
    build(remote)
    assert puts[-2:] == ["manifest.json", "runs.jsonl"]
    assert {"README.md", "contact_sheet.jpg"} <= set(puts[:-2])
    assert {name[:11] for name in puts[:-2] if name.endswith(".parquet")} == {"train-00000", "train-00001"}


def test_a_rerun_after_a_kill_generates_only_the_missing_images(
    build: Build, fields: dict, remote: dict, start: Callable, cluster: str, tmp_path: Path
):
    write_prompts(Path(fields["prompts"]), [f"number {number}" for number in range(12)])
    expected = build(fields)["fingerprint"]

    def found() -> int:
        staged = {key for path in (tmp_path / "work").glob("*/staged") for key, _ in Staging(path).names()}
        rows = rows_of(remote["output"])
        return len(staged | {row[key] for row in rows for key in ("image_key", "input_key")})

    process = start("build", remote, "--cluster", cluster)
    wait_until(lambda: found() >= 6 or process.poll() is not None, "six images")
    process.kill()
    process.wait()
    before = found()
    assert before >= 6
    output, errors = (process := start("build", remote, "--cluster", cluster)).communicate(timeout=300)
    assert process.returncode == 0, errors
    assert f"Fingerprint: {expected}" in output
    assert f'data_files="{remote["output"]}/data/train-*.parquet"' in output
    assert runs(remote)[-1]["generated"] <= 24 - before


def test_an_interrupted_merge_is_finished_by_another_machine(
    build: Build, remote: dict, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(
        "imagemill.data.dataset.files.compaction._end_merge",
        lambda folder, old: (_ for _ in ()).throw(KeyboardInterrupt),
    )
    with pytest.raises(KeyboardInterrupt):
        build(remote)
    monkeypatch.undo()
    assert ".imagemill/merge.json" in keys(bucket)
    monkeypatch.setenv("IMAGEMILL_WORK", str(tmp_path / "another machine"))
    figures = build(remote)
    assert (figures["generated"], figures["rows"], figures["kept"]) == (0, 4, 4)
    assert ".imagemill/merge.json" not in keys(bucket)
    assert verify_files(remote["output"], measures_of).good


def test_a_changed_recipe_generates_only_what_is_new_and_the_files_open_together(
    build: Build, fields: dict, remote: dict, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("imagemill.data.dataset.files.compaction.SMALL_BYTES", 0)
    build(remote)
    # The source images of the second instruction are restored from the bucket.
    remote["edit"]["instructions"] = ["make it red", "make it blue"]
    assert build(remote)["generated"] == 4
    write_prompts(Path(fields["prompts"]), [{"prompt": "a new one", "rating": 3}])
    figures = build(remote, {"on_removed": "keep"})
    assert (figures["generated"], figures["rows"]) == (3, 10)
    assert {"rating"} <= set.intersection(*(set(row) for row in rows_of(remote["output"])))
    assert verify_files(remote["output"], measures_of).good


def test_the_reading_commands_read_a_remote_dataset(build: Build, remote: dict, cluster: str):
    from imagemill.flows.cli.dataset_output import print_difference, print_history, print_verified
    from imagemill.flows.plan_dataset import plan_dataset
    from imagemill.flows.verify_dataset import verify_dataset
    from imagemill.tasks.runner.gpu_task_runner import GpuTaskRunner

    assert plan_dataset(load_recipe(remote))["images"] == 8
    build(remote)
    figures = plan_dataset(load_recipe(remote))
    assert (figures["reused"], figures["images"], figures["output"]) == (4, 0, remote["output"])
    assert print_history(remote["output"], True) == 0
    assert print_verified(remote["output"], 0, 0, None, None, True) == 0
    assert print_difference(remote["output"], remote["output"], True) == 0
    flow = verify_dataset.with_options(task_runner=GpuTaskRunner(address=cluster))
    assert flow(remote["output"], regenerate=2)["bit_equal"] == 2
    Folder(remote["output"]).card.unlink()
    next(Folder(remote["output"]).data.glob("*")).unlink()
    with pytest.raises(DatasetDiffers, match="missing"):
        flow(remote["output"])


def test_a_missing_bucket_is_one_clear_message(remote: dict, start: Callable, cluster: str):
    process = start("build", {**remote, "output": "s3://no-such-bucket-here/set", "name": "set"}, "--cluster", cluster)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "there is no such bucket" in errors
    assert "Traceback" not in errors
