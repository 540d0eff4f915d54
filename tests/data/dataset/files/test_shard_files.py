"""A name that no committed file can have is recognised, wherever it was read: a manifest, a journal, the Hub."""

from __future__ import annotations

import pytest

from imagemill.data.dataset.files.shard_files import CommittedFile, file_name, is_data_path, is_file_name

SHA256 = "3f9a2b1c" + "0" * 56


@pytest.mark.parametrize("number", [0, 7, 99_999, 100_000, 1_234_567])
def test_every_name_that_is_made_is_one_that_a_committed_file_can_have(number: int):
    for name in (file_name(number, SHA256), f"train-{number:05d}.parquet"):
        assert is_file_name(name)
        assert is_data_path(f"data/{name}")
        assert CommittedFile(name, 1, 1, SHA256).number == number


@pytest.mark.parametrize(
    "name",
    [
        "",
        "manifest.json",
        "train-0.parquet",
        "train-000000.parquet",
        "train-00000.parquet\n",
        "train-00000.parquet.tmp",
        "train-00000-3f9a2b1.parquet",
        "train-00000-3F9A2B1C.parquet",
        "train-00000-00001.parquet",
        f"train-{chr(0x660) * 5}.parquet",
        "train-00000xparquet",
        "../train-00000.parquet",
        "/etc/train-00000.parquet",
        "train-00000.parquet/../../manifest.json",
    ],
)
def test_any_other_name_is_none(name: str):
    assert not is_file_name(name)
    assert not is_data_path(f"data/{name}")


@pytest.mark.parametrize("path", ["train-00000.parquet", "rejected/train-00000.parquet", "a/data/train-00000.parquet"])
def test_no_committed_file_lies_outside_of_data(path: str):
    assert not is_data_path(path)
