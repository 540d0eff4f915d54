"""A name that no committed file can have is recognised, wherever it was read: a manifest, a journal, the Hub."""

from __future__ import annotations

import pytest

from imagemill.data.dataset.files.shard_files import (
    CommittedFile,
    file_name,
    is_data_path,
    is_file_name,
    splits_among,
)

SHA256 = "3f9a2b1c" + "0" * 56


@pytest.mark.parametrize("number", [0, 7, 99_999, 100_000, 1_234_567])
def test_every_name_that_is_made_is_one_that_a_committed_file_can_have(number: int):
    for name in (file_name(number, SHA256), f"train-{number:05d}.parquet"):
        assert is_file_name(name)
        assert is_data_path(f"data/{name}")
        assert CommittedFile(name, 1, 1, SHA256).number == number


def test_a_name_says_the_split_and_other_splits_than_train_have_the_hash_in_each():
    name = file_name(3, SHA256, "hard_cases2")
    assert name == "hard_cases2-00003-3f9a2b1c.parquet"
    assert is_file_name(name)
    assert (CommittedFile(name, 1, 1, SHA256).split, CommittedFile(name, 1, 1, SHA256).number) == ("hard_cases2", 3)
    assert is_data_path(f"rejected/{name}", "rejected")
    assert splits_among([name, file_name(9, SHA256), file_name(1, SHA256)]) == ["train", "hard_cases2"]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "test-00000.parquet",
        "Test-00000-3f9a2b1c.parquet",
        "a.b-00000-3f9a2b1c.parquet",
        "1-00000-3f9a2b1c.parquet",
        "-00000-3f9a2b1c.parquet",
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
