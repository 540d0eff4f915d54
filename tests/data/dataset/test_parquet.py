"""The Parquet files open with images in `datasets`, and every committed file is whole."""

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from imagemill.data.config.load import load_recipe
from imagemill.data.dataset.parquet import (
    count_rows,
    merge_files,
    read_columns,
    read_encoding,
    read_image_rows,
    write_rows,
)
from imagemill.data.dataset.schema import IMAGE, DatasetSchema
from imagemill.data.images.codec import Encoding
from imagemill.data.planning.plan import schema_of


@pytest.fixture
def open_dataset(tmp_path, monkeypatch):
    """``datasets.load_dataset`` over Parquet files, with its caches in tmp_path."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets.disable_progress_bars()

    def open_dataset(*paths):
        files = [str(path) for path in paths]
        return datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))

    return open_dataset


def test_a_dataset_opens_with_images_and_typed_columns(tmp_path, schema, dataset_rows, open_dataset):
    write_rows(tmp_path / "train-00000.parquet", schema, dataset_rows)
    rows = open_dataset(tmp_path / "train-00000.parquet")
    assert str(rows.features["image"]).startswith("Image(")
    assert {name: rows.features[name].dtype for name in ("prompt", "seed", "steps", "guidance_scale", "score")} == {
        "prompt": "string",
        "seed": "int64",
        "steps": "int32",
        "guidance_scale": "float64",
        "score": "float64",
    }
    assert list(rows.features) == schema.arrow().names
    first = rows[0]
    assert isinstance(first["image"], Image.Image)
    assert (first["image"].size, first["image"].getpixel((0, 0))) == ((8, 6), (255, 0, 0))
    assert (first["seed"], first["note"], first["score"], first["tags"]) == (2**32 - 1, None, 0.5, '["a"]')


@pytest.mark.parametrize("chained", [False, True])
def test_an_edit_dataset_has_the_columns_that_training_scripts_read(tmp_path, dataset_rows, open_dataset, chained):
    schema = DatasetSchema(chained, edits=True, encoding=Encoding("png"), carried={})
    rows = [
        {**row, "input_image": row["image"], "edit_prompt": "e", "edited_image": dataset_rows[1]["image"]}
        for row in dataset_rows
    ]
    write_rows(
        tmp_path / "a.parquet", schema, [{k: v for k, v in row.items() if k in schema.arrow().names} for row in rows]
    )
    found = open_dataset(tmp_path / "a.parquet")
    assert found.column_names[:3] == ["input_image", "edit_prompt", "edited_image"]
    assert found[2]["edited_image"].getpixel((0, 0)) == (0, 128, 0)
    assert ("edit_seed" in found.column_names) is chained


def test_files_of_one_dataset_open_together(tmp_path, schema, dataset_rows, open_dataset):
    for number, row in enumerate(dataset_rows):
        write_rows(tmp_path / f"train-{number:05d}.parquet", schema, [row])
    assert open_dataset(*sorted(tmp_path.glob("*.parquet")))["id"][:] == ["row-0", "row-1", "row-2"]


def test_images_are_neither_compressed_nor_in_a_dictionary(tmp_path, schema, dataset_rows):
    write_rows(tmp_path / "a.parquet", schema, dataset_rows)
    group = pq.read_metadata(tmp_path / "a.parquet").row_group(0)
    columns = {group.column(place).path_in_schema: group.column(place) for place in range(group.num_columns)}
    assert columns["image.bytes"].compression == "UNCOMPRESSED"
    assert not columns["image.bytes"].has_dictionary_page
    assert columns["prompt"].compression == "ZSTD"
    assert all(column.has_offset_index for column in columns.values())


def test_image_columns_have_the_type_that_datasets_recognises(schema):
    field = schema.arrow().field("image")
    assert field.nullable
    assert field.type == pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    features = json.loads(schema.arrow().metadata[b"huggingface"])["info"]["features"]
    assert list(features) == schema.arrow().names
    assert features["image"] == {"_type": "Image"}


def test_row_groups_are_closed_at_their_size(tmp_path, schema, dataset_rows, monkeypatch):
    monkeypatch.setattr("imagemill.data.dataset.parquet.ROW_GROUP_BYTES", len(dataset_rows[0]["image"]["bytes"]) + 1)
    file = write_rows(tmp_path / "a.parquet", schema, dataset_rows)
    metadata = pq.read_metadata(tmp_path / "a.parquet")
    assert [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)] == [2, 1]
    assert (file.rows, file.bytes) == (3, (tmp_path / "a.parquet").stat().st_size)


def test_equal_rows_give_equal_files(tmp_path, schema, dataset_rows):
    first, second = (write_rows(tmp_path / name, schema, dataset_rows).sha256 for name in ("a", "b"))
    assert first == second
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_rows_and_images_are_read_back(tmp_path, schema, dataset_rows):
    write_rows(tmp_path / "a.parquet", schema, dataset_rows)
    (columns,) = read_columns(tmp_path / "a.parquet", ["id", "input_key"])
    assert columns == {"id": ["row-0", "row-1", "row-2"]}
    assert read_encoding(tmp_path / "a.parquet") == schema.encoding
    found = list(read_image_rows(tmp_path / "a.parquet", "image", [0, 2]))
    assert [fields["id"] for _, fields in found] == ["row-0", "row-2"]
    assert found[1][0] == dataset_rows[2]["image"]["bytes"]


def test_removing_a_row_leaves_the_others_unchanged(tmp_path, schema, dataset_rows, open_dataset):
    write_rows(tmp_path / "a.parquet", schema, dataset_rows)
    without = {dataset_rows[1]["row_key"]}
    file = merge_files([tmp_path / "a.parquet"], tmp_path / "b.parquet", schema.arrow(), without)
    assert (file.rows, file.bytes) == (2, (tmp_path / "b.parquet").stat().st_size)
    kept = open_dataset(tmp_path / "b.parquet")
    assert kept["id"][:] == ["row-0", "row-2"]
    assert kept[1]["image"].getpixel((0, 0)) == (0, 0, 255)
    write_rows(tmp_path / "c.parquet", schema, [dataset_rows[0], dataset_rows[2]])
    assert (tmp_path / "b.parquet").read_bytes() == (tmp_path / "c.parquet").read_bytes()


def test_a_truncated_file_has_no_row_count(tmp_path, schema, dataset_rows):
    write_rows(tmp_path / "a.parquet", schema, dataset_rows)
    content = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(content[:-20])
    assert (count_rows(tmp_path / "a.parquet"), count_rows(tmp_path / "cut.parquet")) == (3, None)
    assert count_rows(tmp_path / "none.parquet") is None


def test_odd_column_names_survive(tmp_path, load, dataset_rows, open_dataset):
    carried = {"": 1, "a.b": "x", "image.bytes": "y", "image": "z", "source_image": "s", "tête": True}
    loaded = load([{"prompt": "a", **carried}]).loaded
    schema = schema_of(load_recipe({"prompts": "p", "generate": {}}), loaded, lambda recipe: ())
    row = {name: value for name, value in dataset_rows[0].items() if name in schema.arrow().names}
    row |= {schema.column_of(name): value for name, value in carried.items()}
    write_rows(tmp_path / "a.parquet", schema, [row])
    found = open_dataset(tmp_path / "a.parquet")[0]
    assert {name: found[schema.column_of(name)] for name in carried} == carried
    assert found["image"].size == (8, 6)


def test_an_image_column_is_recognised_by_its_type(schema):
    assert [field.name for field in schema.arrow() if field.type == IMAGE] == list(schema.image_columns)


def test_images_are_stored_byte_for_byte(tmp_path, schema, dataset_rows):
    write_rows(tmp_path / "a.parquet", schema, dataset_rows)
    stored = pq.read_table(tmp_path / "a.parquet")["image"].to_pylist()
    assert [image["bytes"] for image in stored] == [row["image"]["bytes"] for row in dataset_rows]
    assert Image.open(io.BytesIO(stored[0]["bytes"])).text["parameters"] == "a prompt"
