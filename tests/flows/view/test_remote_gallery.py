"""Tests of the gallery over a dataset in an object store: few requests, and never a whole file."""

from __future__ import annotations

import os
from pathlib import Path

import boto3
import pytest

from imagemill.data.view.gallery import Gallery
from imagemill.data.view.query import Query
from tests.data.view import datasets
from tests.data.view.datasets import image_row, write_manifest, write_part

pytestmark = pytest.mark.slow


def upload(folder: Path, bucket: str) -> str:
    for path in folder.rglob("*.*"):
        boto3.client("s3").upload_file(str(path), bucket, f"sets/one/{path.relative_to(folder)}")
    return f"s3://{bucket}/sets/one"


def test_a_remote_dataset_is_seen_as_a_local_one(bucket: str, tmp_path: Path) -> None:
    datasets.judged(tmp_path / "judged", prompts=12, candidates=3, size=32)
    local, remote = Gallery(tmp_path / "judged"), Gallery(upload(tmp_path / "judged", bucket))

    for query in (Query(), Query("all", words="moon"), Query("rejected", sort="fits"), Query(where="fits > 0.5")):
        ours, theirs = local.page(query, 0, 60), remote.page(query, 0, 60)
        assert [row.values for row in ours.rows] == [row.values for row in theirs.rows]
    image, other = local.page(Query(), 5, 1).rows[0].images[0], remote.page(Query(), 5, 1).rows[0].images[0]
    assert remote.image("data", other.part.name, other.row, "image", None) == local.image(
        "data", image.part.name, image.row, "image", None
    )
    assert remote.histogram("fits", Query("all")) == local.histogram("fits", Query("all"))
    assert len(remote.runs()) == 2
    assert len(remote.set_aside()) == 1
    assert len(remote.pairs(0, 9)[0]) == 5


def test_the_first_page_and_its_images_are_read_without_the_rest_of_the_file(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "large"
    rows = [image_row(number, os.urandom(400_000), f"number {number}") for number in range(120)]
    file = write_part(output, "data", 0, rows)
    write_manifest(output, [file])
    gallery = Gallery(upload(output, bucket))
    received = []

    from s3fs import S3File

    fetch = S3File._fetch_range

    def counted(self: S3File, start: int, end: int) -> bytes:
        content = fetch(self, start, end)
        received.append(len(content))
        return content

    monkeypatch.setattr(S3File, "_fetch_range", counted)
    page = gallery.page(Query(), 0, 6)
    assert sum(received) < 1_500_000
    for row in page.rows:
        image = row.images[0]
        content = gallery.image("data", image.part.name, image.row, "image", None)
        assert content == rows[image.row]["image"]["bytes"]
    assert sum(received) < 6_000_000 < file["bytes"] / 5
