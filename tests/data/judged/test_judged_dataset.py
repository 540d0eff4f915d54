"""What the commands do with a judged dataset: each folder is listed, verified, counted, and pushed only on demand."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from imagemill.data.dataset.files.area import EXTRAS
from imagemill.data.dataset.parquet import write_rows
from imagemill.data.dataset.reader import find_finished
from imagemill.data.errors import OutputError, RecipeError
from imagemill.data.export.export import export
from imagemill.data.export.push import push
from imagemill.data.export.snapshot import snapshot
from imagemill.data.verify.diff import compare
from imagemill.data.verify.integrity import verify_files
from imagemill.models.drawing.measure_registry import measures_of
from tests.data.dataset_hub import DatasetHub
from tests.data.judged.conftest import Judged


def manifest_of(output: Path) -> dict[str, Any]:
    return json.loads((output / "manifest.json").read_text())


def head_of(card: str) -> dict[str, Any]:
    return yaml.safe_load(card.split("---\n")[1])


def verify(output: Any) -> Any:
    return verify_files(str(output), measures_of)


def test_the_manifest_lists_each_folder_and_a_rule_changes_the_fingerprint_of_the_dataset_alone(judged: Judged):
    before = manifest_of(judged.folder.root)
    counts = {name: (before[name]["rows"], len(before[name]["files"])) for name in ("rejected", "pairs", "scores")}
    assert counts == {"rejected": (2, 1), "pairs": (3, 1), "scores": (6, 1)}
    assert (before["rows"], "answers" in before) == (4, False)
    judged.place(lambda number: number == 1)
    after = manifest_of(judged.folder.root)
    assert after["fingerprint"] != before["fingerprint"]
    assert after["candidates_fingerprint"] == before["candidates_fingerprint"]
    judged.place(lambda number: number >= 4)
    assert manifest_of(judged.folder.root)["fingerprint"] == before["fingerprint"]


def test_datasets_opens_each_split_and_the_rejected_rows_by_the_card(judged: Judged, tmp_path: Path):
    cache = str(tmp_path / "cache")
    found = datasets.load_dataset(str(judged.folder.root), cache_dir=cache)
    assert {split: rows.num_rows for split, rows in found.items()} == {"train": 3, "test": 1}
    assert found["train"][0]["image"].size == (8, 6)
    rejected = datasets.load_dataset(str(judged.folder.root), "rejected", split="train", cache_dir=cache)
    assert [row["rejected_by"] for row in rejected] == ["fits", "fits"]
    pairs = datasets.load_dataset(str(judged.folder.root), "pairs", split="train", cache_dir=cache)
    assert pairs[0]["image_0"].size == (8, 6)


def test_the_card_names_only_splits_and_folders_that_have_files(judged: Judged):
    names = [config["config_name"] for config in head_of(judged.folder.card.read_text())["configs"]]
    assert names == ["default", "rejected", "pairs"]
    judged.place(lambda number: False)
    card = judged.folder.card.read_text()
    assert head_of(card)["configs"][0]["data_files"] == [{"split": "train", "path": "data/*.parquet"}]
    assert [config["config_name"] for config in head_of(card)["configs"]] == ["default", "pairs"]
    assert "`rejected/`" not in card


def test_a_judged_dataset_is_verified_with_all_its_folders(judged: Judged):
    report = verify(judged.folder.root)
    assert report.good, report.faults
    assert (report.rows, report.rejected, report.files, report.images) == (4, 2, 5, 6)


@pytest.mark.parametrize("name", ["rejected", "pairs", "scores"])
def test_a_damaged_missing_or_foreign_file_in_any_folder_is_found(judged: Judged, name: str):
    [path] = (judged.folder.root / name).iterdir()
    content = path.read_bytes()
    path.write_bytes(content[:-40] + b"0" + content[-39:])
    assert {fault.file for fault in verify(judged.folder.root).faults} >= {f"{name}/{path.name}"}
    path.unlink()
    assert verify(judged.folder.root).counts["missing"] == 1
    path.write_bytes(content)
    path.with_name("mine.txt").write_text("")
    assert verify(judged.folder.root).counts == {"extra": 1}


def test_a_rejected_row_may_lack_its_image_and_one_of_the_dataset_may_not(judged: Judged):
    area = judged.folder.area("rejected")
    [file] = area.committed()[0]
    rows = [{**row, "image": None} for row in pq.read_table(area.path / file.name).to_pylist()]
    area.remove(file.name)
    scratch = judged.folder.scratch("x.parquet")
    judged.folder.commit(scratch, 7, write_rows(scratch, judged.schema.rejected(), rows), area="rejected")
    judged.publish()
    assert verify(judged.folder.root).good
    judged.folder.commit(scratch, 7, write_rows(scratch, judged.schema, rows))
    judged.publish()
    assert verify(judged.folder.root).counts == {"image": 2}


def test_a_file_of_rejected_rows_needs_the_columns_of_their_reasons(judged: Judged):
    scratch = judged.folder.scratch("x.parquet")
    rows = [{**row, "row_key": "f" * 32} for row in judged.rows[:1]]
    judged.folder.commit(scratch, 9, write_rows(scratch, judged.schema, rows), area="rejected")
    judged.publish()
    faults = [fault.what for fault in verify(judged.folder.root).faults]
    assert any("rejected_by" in what for what in faults), faults


@pytest.mark.parametrize("name", EXTRAS)
def test_a_manifest_with_a_name_that_leads_out_of_a_folder_is_refused(judged: Judged, name: str):
    manifest = manifest_of(judged.folder.root)
    file = {"name": "../data/x.parquet", "rows": 1, "bytes": 1, "sha256": "0" * 64}
    manifest[name] = {"files": [file], "rows": 1, "bytes": 1}
    judged.folder.manifest.write_text(json.dumps(manifest))
    with pytest.raises(OutputError, match=rf"damaged \({name}\.files\.0\.name"):
        find_finished(judged.folder.root)


def test_a_snapshot_has_the_dataset_alone_and_a_manifest_that_says_so(judged: Judged, tmp_path: Path):
    snapshot(judged.folder.root, tmp_path / "taken")
    taken = tmp_path / "taken"
    assert {path.name for path in taken.iterdir()} == {"data", "README.md", "manifest.json", "snapshot.json"}
    assert not {*EXTRAS, "candidates_fingerprint"} & manifest_of(taken).keys()
    assert verify(taken).good
    assert [config["config_name"] for config in head_of((taken / "README.md").read_text())["configs"]] == ["default"]


@pytest.mark.slow
def test_a_push_sends_data_alone_unless_other_folders_are_named(dataset_hub: DatasetHub, judged: Judged):
    push(judged.folder.root, "me/small")
    files = dataset_hub.repositories["me/small"].files
    assert {path.split("/")[0] for path in files if "/" in path} == {"data"}
    assert "`rejected/`" not in files["README.md"].decode()
    assert len(head_of(files["README.md"].decode())["configs"]) == 1
    assert "rejected" not in json.loads(files["manifest.json"])
    done = push(judged.folder.root, "me/small", beside=["rejected", "scores"])
    assert done.sent == 4
    files = dataset_hub.repositories["me/small"].files
    assert {path.split("/")[0] for path in files if "/" in path} == {"data", "rejected", "scores"}
    listed = [config["config_name"] for config in head_of(files["README.md"].decode())["configs"]]
    assert (listed, "pairs" in json.loads(files["manifest.json"])) == (["default", "rejected"], False)
    assert push(judged.folder.root, "me/small", beside=["rejected", "scores"]).sent == 0
    assert push(judged.folder.root, "me/small").removed == 2
    with pytest.raises(RecipeError, match="--with: the dataset has no folder 'state'; it can be rejected, pairs"):
        push(judged.folder.root, "me/small", beside=["state"])


def test_rejected_rows_are_exported_with_their_reasons(judged: Judged, tmp_path: Path):
    done = export(judged.folder.root, tmp_path / "to", "imagefolder", source="rejected")
    assert done["rows"] == 2
    lines = [json.loads(line) for line in (tmp_path / "to" / "metadata.jsonl").read_text().splitlines()]
    assert [(line["id"], line["rejected_by"]) for line in lines] == [("row-4", "fits"), ("row-5", "fits")]
    some = export(judged.folder.root, tmp_path / "some", "files", "id = 'row-5' and fits >= 0.5", source="rejected")
    assert some["rows"] == 1
    judged.place(lambda number: number == 5)
    assert export(judged.folder.root, tmp_path / "to", "imagefolder", source="rejected")["removed"] == 1


def test_pairs_are_exported_in_the_columns_of_direct_preference_optimisation(judged: Judged, tmp_path: Path):
    assert export(judged.folder.root, tmp_path / "to", "dpo", source="pairs")["rows"] == 3
    rows = pq.read_table(tmp_path / "to" / "train-00000.parquet").to_pylist()
    assert [(row["caption"], row["label_0"], row["label_1"]) for row in rows] == [("a", 1.0, 0.0)] * 3
    assert Image.open(io.BytesIO(rows[0]["jpg_0"])).size == (8, 6)
    export(judged.folder.root, tmp_path / "folder", "imagefolder", source="pairs")
    assert len(list((tmp_path / "folder" / "images").rglob("*.png"))) == 6


def test_an_export_of_what_is_not_there_says_what_makes_it(judged: Judged, tmp_path: Path):
    with pytest.raises(RecipeError, match="dpo does not fit --from data; it can be imagefolder, webdataset, dataflow"):
        export(judged.folder.root, tmp_path / "to", "dpo")
    judged.place(lambda number: False)
    with pytest.raises(RecipeError, match=r"has no rejected/\. Its recipe makes one with select"):
        export(judged.folder.root, tmp_path / "to", "files", source="rejected")
    assert not (tmp_path / "to").exists()


def test_a_comparison_counts_the_rows_of_other_folders(judged: Judged, tmp_path: Path):
    snapshot(judged.folder.root, tmp_path / "taken")
    found = compare(judged.folder.root, tmp_path / "taken")
    assert found.equal
    assert found.beside == {"rejected": (2, 0), "pairs": (3, 0), "scores": (6, 0)}
