"""Images embedded in Parquet rows are identified by their content."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from imagemill.data.errors import InputError
from tests.data.conftest import Outcome

EDIT = {"edit": {"instructions": ["make it red"]}}
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def png(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
    return buffer.getvalue()


LoadColumn = Callable[..., Outcome]


@pytest.fixture
def load_column(tmp_path: Path, load: Callable[..., Outcome]) -> LoadColumn:
    """Loads a Parquet file with this column of images."""

    def run(name: str, values: list[Any], kind: pa.DataType, **fields: Any) -> Outcome:
        pq.write_table(pa.table({name: pa.array(values, kind)}), tmp_path / "images.parquet")
        return load(None, "images.parquet", **{**EDIT, **fields})

    return run


def test_bytes_and_images_of_datasets_are_identified_by_their_content(load_column: LoadColumn, tmp_path: Path):
    (tmp_path / "blue.png").write_bytes(png("blue"))
    images = [{"bytes": png("red"), "path": "far/away/red.png"}, {"bytes": None, "path": "blue.png"}]
    found = load_column("images", images, IMAGE).rows
    assert [row.image_hash for row in found] == [hashlib.sha256(png(name)).hexdigest() for name in ("red", "blue")]
    assert [Path(row.image).name for row in found] == ["red.png", "blue.png"]
    (plain,) = load_column("Images", [png("red")], pa.large_binary()).rows
    assert plain.image_hash == found[0].image_hash
    assert Path(plain.image).read_bytes() == png("red")


def test_a_list_of_them_is_an_image_and_its_references(load_column: LoadColumn):
    both = [[{"bytes": png("red"), "path": None}, {"bytes": png("blue"), "path": None}]]
    edit = {**EDIT["edit"], "model": "flux.2-klein-4b", "references": True}
    (row,) = load_column("images", both, pa.list_(IMAGE), edit=edit).rows
    assert [sha256 for _, sha256 in row.references] == [hashlib.sha256(png("blue")).hexdigest()]


def test_invalid_images_and_rows_without_one_are_set_aside(load_column: LoadColumn):
    found = load_column("images", [png("red"), b"no image", b"", None], pa.binary())
    assert [row.line for row in found.rows] == [1]
    assert [fault.line for fault in found.faults] == [2, 3, 4]
    assert "undecodable image: 'bytes in images'" in found.faults[0].reason
    assert "the image is empty ('images')" in found.faults[1].reason


def test_other_binary_columns_are_skipped(load_column: LoadColumn, caplog: pytest.LogCaptureFixture):
    with pytest.raises(InputError, match="no good row"):
        load_column("depth", [png("red")], pa.binary())
    assert "Not read from the prompts file: 'depth' (binary)." in caplog.text


def test_guide_images_can_be_embedded_and_distinguish_rows_with_the_same_prompt(
    load: Callable[..., Outcome], tmp_path: Path
):
    (tmp_path / "look.png").write_bytes(png("green"))
    controls = [{"bytes": png("red"), "path": None}, {"bytes": png("blue"), "path": None}]
    adapter = {"model": "studio/look", "weight_name": "look.safetensors"}
    found = {}
    for name, images in (("forth", controls), ("back", controls[::-1])):
        columns = {"prompt": ["a fox"] * 2, "control_image": pa.array(images, IMAGE), "image_prompt": ["look.png"] * 2}
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
        generate = {"controlnet": "studio/edges", "ip_adapter": adapter}
        found[name] = load(None, f"{name}.parquet", generate=generate).rows
    for row, colour in zip(found["forth"], ("red", "blue"), strict=True):
        hashes = {role: sha256 for role, _, sha256 in row.guides}
        colours = {"control_image": colour, "image_prompt": "green"}
        assert hashes == {role: hashlib.sha256(png(name)).hexdigest() for role, name in colours.items()}
    assert [row.id for row in found["forth"]] == [row.id for row in found["back"]][::-1]
    assert len({row.seed_id for row in found["forth"]}) == 2
