"""The newest staged images, and the strip that a report has of them."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from imagemill.data.dataset.sheet.last_images import COUNT, last_images
from imagemill.data.records import Staged
from imagemill.data.staging.newest import newest_images
from imagemill.data.staging.store import Staging


def png(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 24), colour).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    """Twelve images, staged one a second."""
    folder = tmp_path / "staged"
    folder.mkdir()
    for number in range(12):
        staging = Staging(folder)
        staging.put(png(f"rgb({number * 20}, 0, 0)"), Staged(f"{number:032}", "", 16, 24, 1, "cpu"), "png")
        newest = max(folder.iterdir(), key=lambda path: path.stat().st_ctime_ns)
        os.utime(newest, (1000 + number, 1000 + number))
    return folder


def test_the_newest_images_come_first(staged: Path):
    assert newest_images(staged, 2) == [png("rgb(220, 0, 0)"), png("rgb(200, 0, 0)")]
    assert len(newest_images(staged, 100)) == 12


def test_the_strip_is_a_small_image_of_the_newest(staged: Path):
    strip = last_images(staged, 8_000)
    assert strip is not None
    assert len(strip) <= 8_000
    image = Image.open(io.BytesIO(strip))
    assert image.format == "WEBP"
    assert image.size == (COUNT * 102 - 6, 96)
    red = [image.getpixel((48 + place * 102, 48))[0] for place in range(COUNT)]
    assert red == sorted(red, reverse=True)
    assert red[0] == pytest.approx(220, abs=12)


@pytest.mark.parametrize("content", [b"", b"no bundle", b"[]\n"])
def test_a_damaged_file_is_passed_over(staged: Path, content: bytes):
    (staged / f"{'0' * 32}.staged").write_bytes(content)
    assert len(newest_images(staged, 3)) == 3


def test_an_image_that_cannot_be_read_is_passed_over(tmp_path: Path):
    Staging(tmp_path).put(b"no image", Staged("0" * 32, "", 16, 24, 1, "cpu"), "png")
    assert last_images(tmp_path, 8_000) is None


def test_there_is_no_strip_before_anything_is_staged(tmp_path: Path):
    assert last_images(tmp_path / "none", 8_000) is None
    assert last_images(tmp_path, 8_000) is None
