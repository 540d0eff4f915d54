"""Tests of reading single images: every stored image is found, by its bytes alone, however its file is laid out."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imagemill.data.dataset.carried.arrow_kinds import IMAGE
from imagemill.data.dataset.parquet import write_rows
from imagemill.data.view.image_chunk import ImageChunks, decode_levels
from imagemill.data.view.page_header import BadPage, ShortHeader, parse_page_header
from tests.data.view.datasets import IMAGES_ONLY


def write(path: Path, images: list[bytes | None]) -> pq.FileMetaData:
    rows = [
        {"row_key": f"{n:032x}", "image": image and {"bytes": image, "path": "x"}} for n, image in enumerate(images)
    ]
    write_rows(path, IMAGES_ONLY, rows)
    return pq.read_metadata(path)


@pytest.mark.parametrize(
    ("count", "size"), [(9000, 400), (300, 40_000), (40, 2_000_000)], ids=["many a page", "some", "large"]
)
def test_every_image_of_a_file_is_read_as_it_was_written(tmp_path: Path, count: int, size: int) -> None:
    chance = random.Random(count)
    images = [None if chance.random() < 0.1 else chance.randbytes(chance.randrange(size)) for _ in range(count)]
    footer, chunks = write(tmp_path / "file", images), ImageChunks()

    for row in chance.sample(range(count), min(count, 400)):
        assert chunks.read(tmp_path / "file", footer, "image", row) == images[row]


def test_images_in_a_later_row_group_are_found(tmp_path: Path) -> None:
    images = [os.urandom(30_000_000) for _ in range(6)]
    footer = write(tmp_path / "file", images)

    assert footer.num_row_groups > 1
    assert ImageChunks().read(tmp_path / "file", footer, "image", 5) == images[5]


def test_one_image_is_read_without_the_rest_of_its_row_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    footer = write(tmp_path / "file", [os.urandom(500_000) for _ in range(100)])
    taken = []

    class Counted:
        def __init__(self, file: object) -> None:
            self.file = file

        def __enter__(self) -> Counted:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def seek(self, offset: int) -> None:
            self.file.seek(offset)

        def read(self, count: int) -> bytes:
            content = self.file.read(count)
            taken.append(len(content))
            return content

    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda self, mode="r": Counted(opened(self, mode)))
    chunks = ImageChunks()
    assert len(chunks.read(tmp_path / "file", footer, "image", 70)) == 500_000
    first = sum(taken)
    chunks.read(tmp_path / "file", footer, "image", 71)

    assert first < 500_000 + 72 * 2**16
    assert sum(taken) - first < 500_000 + 2**17


def test_a_column_in_another_form_is_refused(tmp_path: Path) -> None:
    table = pa.table({"image": pa.array([{"bytes": b"x" * 100, "path": "a"}] * 9, IMAGE)})
    pq.write_table(table, tmp_path / "packed", compression="zstd")
    pq.write_table(table, tmp_path / "listed", compression="none", use_dictionary=True)

    for name in ("packed", "listed"):
        with pytest.raises(BadPage):
            ImageChunks().read(tmp_path / name, pq.read_metadata(tmp_path / name), "image", 3)


def test_bytes_that_are_no_page_are_refused_and_nothing_else_happens(tmp_path: Path) -> None:
    images = [os.urandom(3000) for _ in range(200)]
    footer = write(tmp_path / "file", images)
    content = bytearray((tmp_path / "file").read_bytes())
    chance = random.Random(4)

    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(20):
            damaged[chance.randrange(4, 700)] = chance.randrange(256)
        (tmp_path / "damaged").write_bytes(damaged)
        try:
            found = ImageChunks().read(tmp_path / "damaged", footer, "image", 150)
        except BadPage:
            continue
        assert found is None or len(found) <= len(content)


def test_a_header_that_ends_early_is_known_as_such(tmp_path: Path) -> None:
    write(tmp_path / "file", [b"abc"] * 10)
    header = (tmp_path / "file").read_bytes()[4:]

    whole = parse_page_header(header)
    assert (whole.values, whole.is_plain) == (10, True)
    with pytest.raises(ShortHeader):
        parse_page_header(header[: whole.length - 1])


def test_levels_are_decoded_from_runs_and_from_packed_bits() -> None:
    # 5 times level 2, then 8 packed levels, of which the page has 6.
    packed = np.array([2, 0, 2, 1, 2, 2, 0, 0], np.uint8).reshape(2, 4)
    bits = (packed << np.array([0, 2, 4, 6], np.uint8)).sum(axis=1).astype(np.uint8).tobytes()

    assert decode_levels(b"\x0a\x02" + b"\x03" + bits, 11).tolist() == [2] * 5 + [2, 0, 2, 1, 2, 2]
    with pytest.raises(BadPage):
        decode_levels(b"\x0a", 5)
