"""No name and no value of a carried column spoils an export."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import datasets
import pytest

from imagemill.data.config.load import load_recipe
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.parquet import write_rows
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.export.export import export
from imagemill.data.plain_values import duration_from
from tests.data.export.test_export import image

HOSTILE = {
    "file_name": "000001.jpg",
    "edited_image_file_name": "../../etc/passwd",
    "input_image_file_name": "a.png",
    "file_names": "x",
    "source_filename": "taken",
    "__key__": "k",
    "__url__": "u",
    "png": "p",
    "json": "j",
    "txt": "t",
    "image": "i",
    "image_file": "plain",
    "k\0": "nul",
    "": "empty",
    "sub": {"file_name": "b.png", "n": 1},
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


def finished(folder: Path, carried: dict[str, tuple[str, list[Any]]], **fields: Any) -> tuple[Path, DatasetSchema]:
    """A dataset of which a column is given as (kind, values), and all others of the recipe ``fields``."""
    schema = DatasetSchema.of(
        load_recipe({"prompts": "p", **fields}), {name: kind for name, (kind, _) in carried.items()}
    )
    output = Folder(folder)
    count = len(next(iter(carried.values()))[1])
    rows = [
        {column: {"bytes": image(number), "path": f"{number}.png"} for column in schema.image_columns}
        | {"prompt": f"prompt {number}", "id": f"row-{number}", "edit_prompt": "e"}
        | {schema.column_of(key): values[number] for key, (_, values) in carried.items()}
        for number in range(count)
    ]
    rows = [{key: value for key, value in row.items() if key in schema.arrow().names} for row in rows]
    scratch = output.scratch("shard.parquet")
    listed = [asdict(output.commit(scratch, 0, write_rows(scratch, schema, rows)))]
    manifest = {"fingerprint": "f", "rows": count, "files": listed, "recipe": {"name": "small"}}
    output.manifest.write_text(json.dumps({**manifest, "models": {}, "versions": {}, "hardware": {}}))
    return folder, schema


def hostile() -> dict[str, tuple[str, list[Any]]]:
    sub = 'arrow:{"struct":[["file_name","string"],["n","int64"]]}'
    # The second row lacks all of them.
    return {name: (sub if name == "sub" else "str", [value, None]) for name, value in HOSTILE.items()}


@pytest.mark.parametrize("fields", [{"generate": {}}, {"edit": {}}], ids=["generate", "edit"])
def test_datasets_opens_an_image_folder_whatever_the_carried_columns_are_called(fields: dict[str, Any], tmp_path: Path):
    output, _ = finished(tmp_path / "out", hostile(), **fields)
    export(output, tmp_path / "to", "imagefolder")
    lines = [json.loads(line) for line in (tmp_path / "to" / "metadata.jsonl").read_text().splitlines()]
    assert lines[0].keys() == lines[1].keys()
    assert all((tmp_path / "to" / line[key]).is_file() for line in lines for key in line if key.endswith("file_name"))
    assert lines[0]["source_edited_image_filename"] == "../../etc/passwd"
    assert lines[0]["sub"] == {"source_filename": "b.png", "n": 1}
    carried = [value for name, value in HOSTILE.items() if name != "sub"]
    assert set(carried) <= {value for value in lines[0].values() if isinstance(value, str)}
    rows = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "to"), split="train")
    shown = "edited_image" if "edit" in fields else "image"
    assert [row[shown].getpixel((0, 0)) for row in rows] == [(0, 0, 255), (1, 0, 254)]


def test_datasets_opens_tar_files_whatever_the_carried_columns_are_called(tmp_path: Path):
    output, schema = finished(tmp_path / "out", hostile(), generate={})
    export(output, tmp_path / "to", "webdataset")
    (first, _) = datasets.load_dataset("webdataset", data_files=str(tmp_path / "to" / "*.tar"), split="train")
    assert {name: first["json"][schema.column_of(name)] for name in HOSTILE} == HOSTILE
    assert first["__key__"].endswith("row-0")


def test_datasets_opens_the_parquet_whatever_the_carried_columns_are_called(tmp_path: Path):
    output, schema = finished(tmp_path / "out", hostile(), generate={})
    rows = datasets.load_dataset("parquet", data_files=str(output / "data" / "*.parquet"), split="train")
    assert {name: rows[0][schema.column_of(name)] for name in HOSTILE} == HOSTILE


def test_an_image_that_a_row_lacks_is_null_in_its_line(tmp_path: Path):
    fields: dict[str, Any] = {"generate": {}, "edit": {"task": "inpaint"}}
    output, schema = finished(tmp_path / "out", {"note": ("str", ["a", "b"])}, **fields)
    assert schema.has_masks
    export(output, tmp_path / "to", "imagefolder")
    lines = [json.loads(line) for line in (tmp_path / "to" / "metadata.jsonl").read_text().splitlines()]
    assert [line["mask_image_file_name"] for line in lines] == [None, None]
    assert len(datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "to"), split="train")) == 2


@pytest.mark.parametrize("form", ["imagefolder", "webdataset"])
def test_values_that_json_lacks_have_a_form_in_an_export(form: str, tmp_path: Path):
    carried: dict[str, tuple[str, list[Any]]] = {
        "nan": ("float", [float("nan"), 0.5]),
        "list": ('arrow:{"list":"double"}', [[float("inf"), 1.0], []]),
        "price": ('arrow:{"decimal":128,"precision":5,"scale":2}', [110, None]),
        "when": ('arrow:{"timestamp":"us","tz":"UTC"}', [0, None]),
        "took": ('arrow:"duration[us]"', [duration_from("1 day, 0:00:01", "us"), None]),
        "raw": ('arrow:"binary"', [b"\x00\xff", None]),
        "big": ('arrow:"uint64"', [2**64 - 1, 0]),
        "small": ('arrow:"uint64"', [2**63 - 1, 0]),
    }
    output, _ = finished(tmp_path / "out", carried, generate={})
    export(output, tmp_path / "to", form)
    if form == "imagefolder":
        line = json.loads((tmp_path / "to" / "metadata.jsonl").read_text().splitlines()[0])
        datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "to"), split="train")
    else:
        files = str(tmp_path / "to" / "*.tar")
        line = datasets.load_dataset("webdataset", data_files=files, split="train")[0]["json"]
    expected = {
        "nan": None,
        "list": [None, 1.0],
        "price": str(Decimal("1.10")),
        "when": datetime(1970, 1, 1, tzinfo=UTC).isoformat(),
        "took": "1 day, 0:00:01",
        "raw": "AP8=",
        "big": str(2**64 - 1),
        "small": 2**63 - 1,
    }
    assert {name: line[name] for name in expected} == expected
