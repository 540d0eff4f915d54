"""Verify notices every change, and a regenerated sample is bit-equal."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.commands import Run, flip_a_byte, only_file, replace_column, rewrite, state_of
from tests.conftest import ROOT, Build
from tests.flows.build.test_build_dataset import rows_of


def test_an_undamaged_dataset_verifies_and_nothing_is_written_into_it(built: dict, report: Callable):
    before = state_of(built["output"])
    code, found = report("verify", built["output"])
    assert (code, found["good"], found["rows"], found["images"]) == (0, True, 4, 8)
    assert found["fingerprint"] == json.loads((Path(built["output"]) / "manifest.json").read_text())["fingerprint"]
    assert state_of(built["output"]) == before


def cut_off_the_end(output: Path) -> None:
    path = only_file(output)
    path.write_bytes(path.read_bytes()[:-50])


def delete_a_file(output: Path) -> None:
    only_file(output).unlink()


def add_a_file(output: Path) -> None:
    (output / "data" / "train-00009.parquet").write_bytes(only_file(output).read_bytes())


def swap_two_images(output: Path) -> None:
    def change(table: pa.Table) -> pa.Table:
        images = table["edited_image"].to_pylist()
        return replace_column(table, "edited_image", [images[1], images[0], *images[2:]])

    rewrite(output, change)


def lose_an_input_image(output: Path) -> None:
    def change(table: pa.Table) -> pa.Table:
        return replace_column(table, "input_image", [None, *table["input_image"].to_pylist()[1:]])

    rewrite(output, change)


def lose_the_metadata(output: Path) -> None:
    rewrite(output, lambda table: table.replace_schema_metadata({"imagemill": table.schema.metadata[b"imagemill"]}))


def change_a_key(output: Path) -> None:
    rewrite(output, lambda table: replace_column(table, "image_key", ["0" * 32, *table["image_key"].to_pylist()[1:]]))


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        (flip_a_byte, "sha256"),
        (cut_off_the_end, "size"),
        (cut_off_the_end, "unreadable"),
        (delete_a_file, "missing"),
        (add_a_file, "extra"),
        (swap_two_images, "image"),
        (lose_an_input_image, "image"),
        (lose_the_metadata, "schema"),
        (change_a_key, "fingerprint"),
    ],
)
def test_verify_notices_every_kind_of_damage(mine: dict, report: Callable, imagemill: Run, damage: Callable, kind: str):
    damage(Path(mine["output"]))
    code, found = report("verify", mine["output"])
    assert (code, found["good"]) == (1, False)
    assert kind in found["counts"]
    assert kind in imagemill("verify", mine["output"])[1]


def test_verify_names_the_row_whose_image_was_changed(mine: dict, report: Callable):
    swap_two_images(Path(mine["output"]))
    ids = [row["id"] for row in rows_of(mine["output"])]
    found = report("verify", mine["output"])[1]
    assert [fault["id"] for fault in found["faults"] if fault["kind"] == "image"] == ids[:2]


@pytest.mark.parametrize("kind", ["chain", "generated", "given"])
def test_regenerated_rows_are_bit_equal(
    build: Build, mine: dict, cluster: str, report: Callable, tmp_path: Path, kind: str
):
    if kind == "generated":
        mine |= {"edit": None, "image_format": "webp", "generate": {**mine["generate"], "steps": 2}}
    elif kind == "given":
        prompts = ROOT / "data" / "samples" / "edits.jsonl"
        mine |= {"generate": None, "edit": {**mine["edit"], "instructions": []}, "prompts": str(prompts)}
    if kind != "chain":
        mine["output"] = str(tmp_path / kind)
        build(mine)
    before = state_of(mine["output"])
    code, found = report("verify", mine["output"], "--regenerate", "3", "--cluster", cluster)
    assert (code, found["regenerated"], found["bit_equal"], found["not_bit_equal"]) == (0, 3, 3, [])
    assert state_of(mine["output"]) == before


def test_one_row_is_regenerated_by_its_key(mine: dict, cluster: str, report: Callable, imagemill: Run):
    key = pq.read_table(only_file(Path(mine["output"])), columns=["row_key"])["row_key"][2].as_py()
    code, found = report("verify", mine["output"], "--row", key, "--cluster", cluster)
    assert (code, found["regenerated"], found["bit_equal"]) == (0, 1, 1)

    code, text = imagemill("verify", mine["output"], "--row", "0" * 32, "--cluster", cluster)
    assert code == 1
    assert f"no row with the key '{'0' * 32}'" in text


def test_rows_regenerated_by_another_model_are_reported_with_psnr_and_the_difference(
    mine: dict, cluster: str, report: Callable, tmp_path: Path
):
    import torch
    from safetensors.torch import load_file, save_file

    other = tmp_path / "random"
    shutil.copytree(mine["generate"]["model"], other)
    weights = next((other / "transformer").glob("*.safetensors"))
    save_file({name: value + 0.01 * torch.randn_like(value) for name, value in load_file(weights).items()}, weights)
    manifest = Path(mine["output"]) / "manifest.json"
    content = json.loads(manifest.read_text())
    content["recipe"]["edit"]["model"] = str(other)
    manifest.write_text(json.dumps(content))
    code, found = report("verify", mine["output"], "--regenerate", "2", "--cluster", cluster)
    assert (code, found["good"], found["regenerated"], found["bit_equal"]) == (1, False, 2, 0)
    assert all(0 < row["psnr"] < 100 for row in found["not_bit_equal"])
    assert list(found["differing"]) == ["edit model's files"]


def test_rows_kept_from_an_earlier_model_are_reported_as_skipped(mine: dict, cluster: str, report: Callable):
    manifest = Path(mine["output"]) / "manifest.json"
    content = json.loads(manifest.read_text())
    content["models"]["edit"]["identity"]["files"] = "0" * 32
    manifest.write_text(json.dumps(content))
    code, found = report("verify", mine["output"], "--regenerate", "1", "--cluster", cluster)
    assert (code, found["bit_equal"]) == (0, 0)
    assert [row["result"] for row in found["not_bit_equal"]] == ["skipped"]
    assert "which is not as the manifest describes" in found["not_bit_equal"][0]["why"]


def test_a_recipe_that_is_no_longer_usable_is_one_clear_message(mine: dict, imagemill: Run, server: str):
    manifest = Path(mine["output"]) / "manifest.json"
    content = json.loads(manifest.read_text())
    content["recipe"]["edit"]["model"] = "gone/away/model"
    manifest.write_text(json.dumps(content))
    code, text = imagemill("verify", mine["output"], "--regenerate", "1")
    assert code == 1
    assert "the recipe in its manifest cannot be used here: recipe.edit.model is 'gone/away/model'" in text


def test_a_scheduled_verification_of_a_damaged_dataset_fails(mine: dict, server: str):
    from imagemill.data.errors import DatasetDiffers
    from imagemill.flows.verify_dataset import verify_dataset

    assert verify_dataset(mine["output"])["good"]
    flip_a_byte(Path(mine["output"]))
    with pytest.raises(DatasetDiffers, match=r"differs from its manifest \(1 sha256"):
        verify_dataset(mine["output"], regenerate=1)
