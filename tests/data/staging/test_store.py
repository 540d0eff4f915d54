"""Staged images: many in a bundle, each found by its key, removed with their shard; an incomplete file is ignored."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from imagemill.data.images.codec import Encoding
from imagemill.data.records import Drawing
from imagemill.data.staging.store import Generated, StageRequest, Staging

PNG, JPEG = Encoding("png"), Encoding("jpeg", 95)
DRAWINGS = [Drawing(f"{number:032x}", f"number {number}", number, 1) for number in range(4)]
NEEDED = {drawing.key: (PNG, JPEG) for drawing in DRAWINGS}


def stage(folder: Path, drawings: list[Drawing], encodings: tuple[Encoding, ...] = (PNG, JPEG)) -> Path:
    """Stage these together, each in a different colour; returns the file."""
    before = set(folder.glob("*.staged"))
    generated = Generated("model", 4, "cpu")
    images = [Image.new("RGB", (8, 8), (50 * drawing.seed, 0, 0)) for drawing in drawings]
    Staging(folder).stage([StageRequest(*both, encodings, generated) for both in zip(images, drawings, strict=True)])
    (path,) = set(folder.glob("*.staged")) - before
    return path


def missing(folder: Path) -> list[int]:
    return [drawing.seed for drawing in Staging(folder).missing(DRAWINGS, NEEDED)]


def test_images_staged_together_are_one_file_and_each_is_read_by_its_key(tmp_path: Path):
    stage(tmp_path, DRAWINGS)
    staging = Staging(tmp_path)
    for drawing in DRAWINGS:
        content, staged = staging.read(drawing.key, "png")
        assert (staged.key, staged.batch_size) == (drawing.key, 4)
        assert Image.open(io.BytesIO(content)).getpixel((0, 0)) == (50 * drawing.seed, 0, 0)
        assert staging.read(drawing.key, "jpeg-95")[0][:2] == b"\xff\xd8"
    assert missing(tmp_path) == []


def test_images_that_another_process_stages_or_removes_are_noticed(tmp_path: Path):
    assert missing(tmp_path) == [0, 1, 2, 3]
    code = f"from tests.data.staging.test_store import *; print(stage(Path({str(tmp_path)!r}), DRAWINGS[:2]))"
    file = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert missing(tmp_path) == [2, 3]
    reader = Staging(tmp_path)
    assert reader.find(DRAWINGS[0].key, "png").width == 8
    Path(file.strip()).unlink()
    assert reader.read(DRAWINGS[0].key, "png") is None
    assert missing(tmp_path) == [0, 1, 2, 3]


@pytest.mark.parametrize("left", [0, 10, -1])
def test_an_incomplete_file_is_ignored(tmp_path: Path, left: int):
    stage(tmp_path, DRAWINGS[2:])
    # This process sees only the incomplete file, as after a power cut.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    half = stage(elsewhere, DRAWINGS[:2])
    (tmp_path / half.name).write_bytes(half.read_bytes()[:left])
    (tmp_path / "unfinished.staged.tmp").write_bytes(half.read_bytes())
    assert missing(tmp_path) == [0, 1]
    complete = {(drawing.key, name) for drawing in DRAWINGS[2:] for name in ("png", "jpeg-95")}
    assert Staging(tmp_path).names() == complete


def test_a_file_is_removed_with_its_last_image(tmp_path: Path):
    path = stage(tmp_path, DRAWINGS)
    Staging(tmp_path).remove({drawing.key: (PNG, JPEG) for drawing in DRAWINGS[:3]})
    assert path.exists()
    assert missing(tmp_path) == [0, 1, 2]
    Staging(tmp_path).remove({DRAWINGS[3].key: (PNG,)})
    assert path.exists()
    Staging(tmp_path).remove({DRAWINGS[3].key: (JPEG,)})
    assert not path.exists()


def test_an_image_that_was_staged_twice_is_removed_from_both_files(tmp_path: Path):
    stage(tmp_path, DRAWINGS[:2])
    stage(tmp_path, DRAWINGS[:2])
    Staging(tmp_path).remove({drawing.key: (PNG, JPEG) for drawing in DRAWINGS[:2]})
    assert list(tmp_path.glob("*.staged")) == []


def test_a_measure_that_is_added_later_is_what_counts(tmp_path: Path):
    stage(tmp_path, DRAWINGS[:2])
    Staging(tmp_path).add_measures(DRAWINGS[0].key, (PNG, JPEG), {"unsafe": False})
    stage(tmp_path, DRAWINGS[:2])
    key = DRAWINGS[0].key
    code = f"from imagemill.data.staging.store import *; print(Staging(Path({str(tmp_path)!r})).find({key!r}, 'png'))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "measures={'unsafe': False}" in output
    assert Staging(tmp_path).find(DRAWINGS[0].key, "jpeg-95").measures == {"unsafe": False}
    assert Staging(tmp_path).find(DRAWINGS[1].key, "png").measures == {}


def test_a_record_of_version_0_1_0_keeps_its_values(tmp_path: Path):
    fields = {"key": "0" * 32, "sha256": "0" * 64, "width": 8, "height": 8, "batch_size": 1, "device": "cpu"}
    records = [{**fields, "unsafe": True, "truncated": None}, {**fields, "key": "1" * 32, "truncated": False}]
    header = json.dumps([["png", 1, record] for record in records])
    (tmp_path / "earlier.staged").write_bytes(header.encode() + b"\nab")
    measures = [Staging(tmp_path).find(record["key"], "png").measures for record in records]
    assert measures == [{"unsafe": True}, {"prompt_truncated": False}]


def test_a_missing_encoding_is_made_from_the_lossless_image(tmp_path: Path):
    stage(tmp_path, DRAWINGS[:2], (PNG,))
    stage(tmp_path, DRAWINGS[2:], (JPEG,))
    assert missing(tmp_path) == [2, 3]
    found = Staging(tmp_path).find(DRAWINGS[1].key, "jpeg-95")
    assert replace(found, sha256="") == replace(Staging(tmp_path).find(DRAWINGS[1].key, "png"), sha256="")


@pytest.mark.parametrize("version", [1, 2])
def test_an_encoding_that_is_made_later_has_the_bytes_of_one_that_was_staged_at_once(tmp_path: Path, version: int):
    encodings = _, jpeg = [replace(encoding, version=version) for encoding in (PNG, JPEG)]
    at_once, later = tmp_path / "at once", tmp_path / "later"
    for folder, staged in ((at_once, encodings), (later, encodings[:1])):
        folder.mkdir()
        stage(folder, DRAWINGS[:1], tuple(staged))
    key = DRAWINGS[0].key
    assert Staging(later).missing(DRAWINGS[:1], {key: (jpeg,)}) == []
    assert Staging(later).read(key, jpeg.name) == Staging(at_once).read(key, jpeg.name)


CUT_SHORT = """
import os, resource, signal, sys
from pathlib import Path
from imagemill.data.records import Staged
from imagemill.data.staging.store import Staging
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
Staging(Path(sys.argv[1])).put(bytes(20_000), Staged("0" * 32, "0" * 64, 8, 8, 1, "cpu"), "png")
"""


def test_a_worker_that_dies_while_it_stages_leaves_no_file_that_a_reader_sees(tmp_path: Path):
    # The system kills it in the middle of the write.
    done = subprocess.run([sys.executable, "-c", CUT_SHORT, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGXFSZ
    assert [path.stat().st_size for path in tmp_path.iterdir()] == [10_000]
    assert list(tmp_path.glob("*.staged")) == []
