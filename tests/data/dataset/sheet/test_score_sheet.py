"""The sheet of scores has the images at both ends of each score."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from imagemill.data.dataset.sheet.score_sheet import EACH, score_sheet

SCORES = [0.5, None, 0.9, 0.1, 0.4, 0.3, 0.8, 0.7, 0.6, 0.2, 0.95]


def png(grey: float) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (round(255 * grey),) * 3).save(buffer, "PNG")
    return buffer.getvalue()


def file_of(path: Path, scores: list[float | None], keys: list[str | None], has_images: bool = True) -> Path:
    images = [{"bytes": png(score or 0) if has_images else None, "path": None} for score in scores]
    table = pa.table(
        {
            "image": pa.array(images, pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            "image_key": pa.array(keys, pa.string()),
            "score_fits": pa.array(scores, pa.float32()),
        }
    )
    pq.write_table(table, path, row_group_size=3)
    return path


def greys(sheet: bytes) -> list[float]:
    """The grey of each image on a sheet of one score, from left to right."""
    image = Image.open(io.BytesIO(sheet)).convert("L")
    return [round(image.getpixel((6 + place * 78 + 36, 16 + 36)) / 255, 1) for place in range(image.width // 78)]


def test_the_highest_come_first_and_the_lowest_last(tmp_path: Path):
    # The last has the highest score, but no last image: it was rejected before it was edited.
    path = file_of(tmp_path / "a.parquet", SCORES, [*map(str, range(len(SCORES) - 1)), None])
    sheet = score_sheet([path], ["score_fits", "score_of_no_row"], 20_000)
    assert greys(sheet) == [0.9, 0.8, 0.7, 0.6, 0.4, 0.3, 0.2, 0.1]
    assert len(sheet) <= 20_000


def test_fewer_images_than_fit_are_shown_once(tmp_path: Path):
    path = file_of(tmp_path / "a.parquet", SCORES[2:5], ["a", "b", "c"])
    assert sorted(greys(score_sheet([path], ["score_fits"], 20_000))) == [0.1, 0.4, 0.9]
    assert EACH > 3


def test_without_a_score_there_is_no_sheet_and_without_bytes_a_grey_tile(tmp_path: Path):
    path = file_of(tmp_path / "a.parquet", [0.1, None], ["a", "b"], has_images=False)
    assert score_sheet([path], ["score_looks"], 20_000) is None
    assert greys(score_sheet([path], ["score_fits"], 20_000)) == [0.8]
