"""Prompts in Arrow files are read as those in Parquet are, whether the file can be sought in or not."""

import gzip
import random
from contextlib import suppress

import pyarrow as pa
import pyarrow.feather
import pytest

from imagemill.data.errors import InputError
from imagemill.data.prompts.formats import arrow_format
from imagemill.data.prompts.reader import read_records

TABLE = pa.table({"prompt": ["a", "b", None], "n": [1, None, 3], "images": [b"1", b"2", b"3"], "raw": [b"x"] * 3})


def feather(path):
    pyarrow.feather.write_feather(TABLE, path, compression="zstd", chunksize=2)


def stream(path):
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, TABLE.schema) as writer:
        writer.write_table(TABLE, max_chunksize=2)


@pytest.mark.parametrize("write", [feather, stream])
@pytest.mark.parametrize("name", ["p.feather", "p.arrow", "p.arrow.gz"])
def test_an_arrow_file_is_read(tmp_path, write, name):
    path = tmp_path / name
    write(path)
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(path.read_bytes()))
    assert [record.fields for record in read_records(str(path), lambda names: {"Images", "images"})] == [
        {"prompt": "a", "n": 1, "images": b"1"},
        {"prompt": "b", "images": b"2"},
        {"n": 3, "images": b"3"},
    ]
    assert [record.line for record in read_records(str(path))] == [1, 2, 3]


def test_a_large_batch_is_read_in_slices(tmp_path):
    pyarrow.feather.write_feather(pa.table({"prompt": [str(number) for number in range(5000)]}), tmp_path / "p.feather")
    found = [record.fields["prompt"] for record in read_records(str(tmp_path / "p.feather"))]
    assert found == [str(number) for number in range(5000)]


@pytest.mark.parametrize("size", [-1, -8, -60, 300, 3, 0])
def test_a_truncated_file_is_an_error(tmp_path, size):
    path = tmp_path / "p.feather"
    feather(path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(InputError, match=r"is cut short or damaged|is not Arrow, or is damaged"):
        list(read_records(str(path)))


def test_another_file_is_an_error(tmp_path):
    (tmp_path / "p.arrow").write_bytes(b"not arrow at all, but a text")
    with pytest.raises(InputError, match=r"p\.arrow' is not Arrow, or is damaged"):
        list(read_records(str(tmp_path / "p.arrow")))
    (tmp_path / "old.feather").write_bytes(b"FEA1" + bytes(100) + b"FEA1")
    with pytest.raises(InputError, match="is Feather of version 1: save it again as version 2"):
        list(read_records(str(tmp_path / "old.feather")))


@pytest.mark.parametrize("packing", ["zstd", "lz4"])
@pytest.mark.parametrize("kind", ["plain", "dictionary"])
def test_a_column_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path, monkeypatch, packing, kind):
    monkeypatch.setattr(arrow_format, "MAX_UNPACKED_BYTES", 10 * 2**20)
    texts = pa.array(["x" * (20 * 2**20)])
    table = pa.table({"prompt": texts.dictionary_encode() if kind == "dictionary" else texts})
    path = tmp_path / "p.arrow"
    pyarrow.feather.write_feather(table, path, compression=packing)
    assert path.stat().st_size < 2**20
    with pytest.raises(InputError, match="has a column that unpacks from 0 MiB to 20 MiB"):
        list(read_records(str(path)))


def test_a_dictionary_is_read(tmp_path):
    table = pa.table({"prompt": pa.array(["a", "b", "a"]).dictionary_encode(), "list": [[1], [], None]})
    pyarrow.feather.write_feather(table, tmp_path / "p.feather", compression="lz4")
    assert [record.fields["prompt"] for record in read_records(str(tmp_path / "p.feather"))] == ["a", "b", "a"]


def test_a_batch_of_gibibytes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(arrow_format, "MAX_BATCH_BYTES", 1000)
    pyarrow.feather.write_feather(
        pa.table({"prompt": ["x" * 2000]}), tmp_path / "p.feather", compression="uncompressed"
    )
    with pytest.raises(InputError, match="has a batch of over 0 GiB"):
        list(read_records(str(tmp_path / "p.feather")))


def test_a_damaged_message_is_an_error(tmp_path):
    path = tmp_path / "p.feather"
    pyarrow.feather.write_feather(pa.table({"prompt": ["x" * 2000] * 9}), path, compression="zstd")
    content = path.read_bytes()
    chance = random.Random(0)
    for _ in range(300):
        at = chance.randrange(8, len(content))
        path.write_bytes(content[:at] + bytes([chance.randrange(256)]) + content[at + 1 :])
        with suppress(InputError):
            list(read_records(str(path)))
