"""A folder or a glob of prompts files is read as its shards, in natural order, and nothing outside of it."""

import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from imagemill.data.errors import InputError
from imagemill.data.prompts.image_locations import ImageLocations
from imagemill.data.prompts.reader import read_records


@pytest.fixture
def folder(tmp_path):
    """Shards 2 and 10 with another field each, and files that are no shards."""
    folder = tmp_path / "shards"
    (folder / ".hidden").mkdir(parents=True)
    (folder / "part-10.jsonl").write_text('{"prompt": "c", "other": 1}\n\n{"prompt": "d"}\n')
    (folder / "part-2.jsonl").write_text('{"prompt": "a", "style": "x"}\nnope\n')
    for name in (".hidden/a.jsonl", ".part-1.jsonl", "README.md", "_SUCCESS"):
        (folder / name).write_text('{"prompt": "no"}')
    return folder


def prompts_of(path):
    return [record.fields and record.fields["prompt"] for record in read_records(str(path))]


def test_the_shards_of_a_folder_are_read_in_natural_order_under_lines_of_their_own(folder):
    found = list(read_records(str(folder)))
    assert [(record.line, record.fields) for record in found] == [
        (1, {"prompt": "a", "style": "x"}),
        (2, None),
        (3, {"prompt": "c", "other": 1}),
        (5, {"prompt": "d"}),
    ]
    assert found[1].fault == "part-2.jsonl, line 2: not JSON (Expecting value: line 1 column 1 (char 0))"


@pytest.mark.parametrize("pattern", ["part-*.jsonl", "*", "part-[0-9]*", "../*/part*", "**/*.jsonl"])
def test_a_glob_names_shards_too(folder, pattern):
    assert prompts_of(folder / pattern) == ["a", None, "c", "d"]


def test_parquet_shards_may_differ_in_their_columns(tmp_path):
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table({"prompt": ["a"], "x": [1]}), tmp_path / "data" / "train-00000-of-00002.parquet")
    pq.write_table(pa.table({"y": ["z"], "prompt": ["b"]}), tmp_path / "data" / "train-00001-of-00002.parquet")
    expected = [{"prompt": "a", "x": 1}, {"y": "z", "prompt": "b"}]
    for path in (tmp_path, tmp_path / "data", tmp_path / "data" / "train-*.parquet"):
        assert [record.fields for record in read_records(str(path))] == expected


def test_a_dataset_that_datasets_saved_is_read(tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_dict({"prompt": ["a", "b", "c"]}).save_to_disk(tmp_path / "saved", num_shards=2)
    assert prompts_of(tmp_path / "saved") == ["a", "b", "c"]


def test_a_file_of_that_very_name_wins_over_a_glob(tmp_path):
    (tmp_path / "br[ack]et*.jsonl").write_text('{"prompt": "a"}\n')
    (tmp_path / "braet-1.jsonl").write_text('{"prompt": "b"}\n')
    assert prompts_of(tmp_path / "br[ack]et*.jsonl") == ["a"]
    (tmp_path / "br[ack]et*.jsonl").unlink()
    assert prompts_of(tmp_path / "br[ack]et*.jsonl") == ["b"]


def test_files_of_several_formats_are_an_error_that_counts_them(folder):
    (folder / "more.csv").write_text("prompt\nz\n")
    with pytest.raises(InputError, match=r"have several formats \(2 \.jsonl, 1 \.csv\): name those of one"):
        prompts_of(folder)
    with pytest.raises(InputError, match="have several formats"):
        prompts_of(folder / "*")
    assert prompts_of(folder / "*.csv") == ["z"]


def test_a_glob_without_a_file_is_an_error(folder):
    with pytest.raises(InputError, match=r"none-\*\.jsonl' do not exist: no file of that name is there"):
        prompts_of(folder / "none-*.jsonl")
    with pytest.raises(InputError, match=r"README\*' do not exist: none of the 1 files of that name ends in \.jsonl"):
        prompts_of(folder / "README*")


def test_an_error_names_the_shard(folder):
    (folder / "part-3.jsonl").write_text('[{"prompt": "a"}')
    with pytest.raises(InputError, match=r"shards/part-3\.jsonl' ends before all of its lists"):
        prompts_of(folder)


def test_a_link_out_of_the_folder_is_refused(folder, tmp_path, monkeypatch):
    (tmp_path / "secret.jsonl").write_text('{"prompt": "secret"}\n')
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "p.jsonl").write_text('{"prompt": "other"}\n')
    for name, target in (("part-11.jsonl", "../secret.jsonl"), ("sub", "../others")):
        (folder / name).symlink_to(target)
        for path in (folder, folder / "**/*.jsonl"):
            with pytest.raises(InputError, match=rf"{name}.*' is a link that leads out of the prompts folder"):
                prompts_of(path)
        monkeypatch.setenv("IMAGEMILL_FOLLOW_LINKS", "1")
        assert prompts_of(folder)[-1] in ("secret", "other")
        monkeypatch.delenv("IMAGEMILL_FOLLOW_LINKS")
        (folder / name).unlink()


def test_links_inside_of_the_folder_and_to_the_folder_are_followed(folder, tmp_path):
    (folder / "part-11.jsonl").symlink_to("part-10.jsonl")
    (folder / "loop").symlink_to(".")
    (tmp_path / "link").symlink_to(folder)
    for path in (folder, tmp_path / "link"):
        assert prompts_of(path) == ["a", None, "c", "d", "c", "d"]


def test_a_snapshot_in_the_cache_of_the_hub_is_read_through_its_links(tmp_path):
    snapshot = tmp_path / "datasets--org--name" / "snapshots" / "abc"
    blobs = tmp_path / "datasets--org--name" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    (blobs / "123").write_text('{"prompt": "a"}\n')
    (snapshot / "train.jsonl").symlink_to("../../blobs/123")
    assert prompts_of(snapshot) == prompts_of(snapshot / "*.jsonl") == ["a"]


def test_a_pipe_in_the_folder_is_an_error(folder):
    os.mkfifo(folder / "part-3.jsonl")
    with pytest.raises(InputError, match="is neither a file nor a folder"):
        prompts_of(folder)


@pytest.mark.parametrize("location", ["", "part-*.jsonl", "part-2.jsonl"])
def test_images_are_relative_to_the_folder(folder, location):
    Image.new("RGB", (8, 8)).save(folder / "red.png")
    assert ImageLocations(str(folder / location)).resolve("red.png") == str(folder / "red.png")


def test_a_build_reads_a_folder(load, folder):
    found = load(None, "shards")
    assert [row.prompt for row in found.rows] == ["a", "c", "d"]
    assert [row.carried for row in found.rows] == [{"style": "x"}, {"other": 1}, {}]
    assert (found.faults[0].line, found.faults[0].file) == (2, str(folder))
    assert json.dumps(found.reason).startswith('"part-2.jsonl, line 2: not JSON')
