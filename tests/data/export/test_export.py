"""An export has every image and column, resumes after a kill, and touches no other file."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import datasets
import pytest
from PIL import Image

from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.parquet import write_rows
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.errors import NotAnImagemillDataset, OutputError, RecipeError
from imagemill.data.export.export import export
from imagemill.data.images.codec import Encoding

ROWS_PER_FILE = 2
FILES = 3


def image(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 0, 255 - shade)).save(buffer, "PNG")
    return buffer.getvalue()


def finished(folder: Path, edits: bool) -> Path:
    """A finished dataset of three files of two rows each, the caption carried from the prompts file."""
    output = Folder(folder)
    schema = DatasetSchema(edits, edits, Encoding("png"), {"caption": "str"})
    files = []
    for number in range(FILES):
        scratch = output.scratch("shard.parquet")
        rows = [row(ROWS_PER_FILE * number + i, schema.image_columns) for i in range(ROWS_PER_FILE)]
        files.append(asdict(output.commit(scratch, number, write_rows(scratch, schema, rows))))
    manifest = {"fingerprint": "f", "rows": ROWS_PER_FILE * FILES, "files": files, "recipe": {"name": "small"}}
    output.manifest.write_text(json.dumps({**manifest, "models": {}, "versions": {}, "hardware": {}}))
    return folder


def row(number: int, columns: tuple[str, ...]) -> dict[str, Any]:
    images = {
        column: {"bytes": image(10 * number + place), "path": f"{number}-{place}.png"}
        for place, column in enumerate(columns)
    }
    others = {"prompt": f"prompt {number}", "id": f"row-{number}", "variant": 0, "caption": f"é {number}"}
    others |= {"row_key": f"key {number}", "width": 8, "height": 8}
    return {**images, **others, **({"edit_prompt": f"edit {number}"} if len(columns) > 1 else {})}


def contents(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.mark.parametrize("form", ["imagefolder", "webdataset"])
def test_datasets_opens_an_export_with_every_image_and_column(form: str, tmp_path: Path):
    output = finished(tmp_path / "out", edits=True)
    export(output, tmp_path / "to", form)
    source = {"data_dir": str(tmp_path / "to")}
    if form == "webdataset":
        source = {"data_files": str(tmp_path / "to" / "*.tar")}
    rows = datasets.load_dataset(form, split="train", **source)
    before, after = ("input_image", "edited_image") if form == "imagefolder" else ("input.png", "output.png")
    assert len(rows) == ROWS_PER_FILE * FILES
    for number, sample in enumerate(rows):
        fields = sample if form == "imagefolder" else sample["json"]
        assert (fields["edit_prompt"], fields["caption"]) == (f"edit {number}", f"é {number}")
        assert sample[before].getpixel((0, 0)) == (10 * number, 0, 255 - 10 * number)
        assert sample[after].getpixel((0, 0)) == (10 * number + 1, 0, 254 - 10 * number)


def test_generated_images_have_dataflows_names(tmp_path: Path):
    export(finished(tmp_path / "out", edits=False), tmp_path / "to", "dataflow")
    lines = [json.loads(line) for line in (tmp_path / "to" / "dataflow.jsonl").read_text().splitlines()]
    assert lines[1]["conversations"] == [{"content": "prompt 1", "role": "user"}]
    assert lines[1]["images"] == [str(tmp_path / "to" / "samplerow-1_condition0" / "samplerow-1_condition0_0.png")]
    assert Path(lines[1]["images"][0]).read_bytes() == image(10)


def test_edits_have_dataflows_names(tmp_path: Path):
    export(finished(tmp_path / "out", edits=True), tmp_path / "to", "dataflow")
    line = json.loads((tmp_path / "to" / "dataflow.jsonl").read_text().splitlines()[5])
    assert line["conversations"] == [{"content": "edit 5", "role": "user"}]
    assert line["output_image"] == [str(tmp_path / "to" / "sample_row-5" / "sample_row-5_0.png")]
    assert [Path(path).read_bytes() for path in line["images"] + line["output_image"]] == [image(50), image(51)]


def test_plain_files_come_with_their_prompts(tmp_path: Path):
    export(finished(tmp_path / "out", edits=False), tmp_path / "to", "files")
    assert (tmp_path / "to" / "row-4.txt").read_text() == "prompt 4"
    assert (tmp_path / "to" / "row-4.png").read_bytes() == image(40)


def test_an_export_that_is_complete_is_not_written_again(tmp_path: Path):
    output = finished(tmp_path / "out", edits=False)
    export(output, tmp_path / "to", "files")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "to").rglob("*")}
    assert export(output, tmp_path / "to", "files")["written"] == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "to").rglob("*")} == before


def _full_folder(output: Path, to: Path) -> None:
    to.mkdir()
    (to / "thesis.tex").write_text("years of work")


def _other_export(output: Path, to: Path) -> None:
    export(output, to, "webdataset")


@pytest.mark.parametrize(
    ("fill", "message"), [(_full_folder, "is not an export"), (_other_export, "'webdataset' and not")]
)
def test_a_folder_that_holds_something_else_is_refused_untouched(
    fill: Callable[[Path, Path], None], message: str, tmp_path: Path
):
    output = finished(tmp_path / "out", edits=False)
    fill(output, tmp_path / "to")
    before = contents(tmp_path / "to")
    with pytest.raises(NotAnImagemillDataset, match=message):
        export(output, tmp_path / "to", "files")
    assert contents(tmp_path / "to") == before


def test_an_unfinished_dataset_is_not_exported(tmp_path: Path):
    output = finished(tmp_path / "out", edits=False)
    (output / "manifest.json").unlink()
    (output / ".imagemill" / "folder.json").write_text('{"name": "small", "pinned": {}}')
    with pytest.raises(OutputError, match="not finished"):
        export(output, tmp_path / "to", "files")


def test_only_rows_that_meet_a_filter_are_exported_under_their_names(tmp_path: Path):
    output = finished(tmp_path / "out", edits=False)
    done = export(output, tmp_path / "to", "imagefolder", "prompt in ('prompt 1', 'prompt 4') or id = 'row-5'")
    lines = [json.loads(line) for line in (tmp_path / "to" / "metadata.jsonl").read_text().splitlines()]
    assert [line["prompt"] for line in lines] == ["prompt 1", "prompt 4", "prompt 5"]
    assert [Path(line["file_name"]).stem for line in lines] == ["row-1", "row-4", "row-5"]
    assert done["rows"] == len(list((tmp_path / "to" / "images").rglob("*.png"))) == 3


def test_a_filter_that_no_row_meets_is_refused_before_anything_is_written(tmp_path: Path):
    output = finished(tmp_path / "out", edits=False)
    with pytest.raises(RecipeError, match="none of the rows meets"):
        export(output, tmp_path / "to", "files", "prompt = 'another'")
    assert not (tmp_path / "to").exists()


def test_an_export_of_other_rows_is_refused(tmp_path: Path):
    output = finished(tmp_path / "out", edits=False)
    export(output, tmp_path / "to", "files", "id = 'row-5'")
    with pytest.raises(NotAnImagemillDataset, match="where"):
        export(output, tmp_path / "to", "files", "id = 'row-4'")
