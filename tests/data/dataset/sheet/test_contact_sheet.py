"""The contact sheet shows every row, also one whose input image is truncated or cannot be read on this machine."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from imagemill.data.dataset.sheet.contact_sheet import contact_sheet

SOURCE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8))


def saved(image, image_format="PNG"):
    buffer = io.BytesIO()
    image.save(buffer, image_format)
    return buffer.getvalue()


@pytest.mark.parametrize("source", [saved(SOURCE, "JPEG")[:-500], b"a format of another machine"])
def test_an_edit_is_shown_beside_an_input_image_that_cannot_be_read_in_full(tmp_path, source):
    columns = {
        "input_image": [{"bytes": source}],
        "edited_image": [{"bytes": saved(Image.new("RGB", (64, 64), "red"))}],
    }
    pq.write_table(pa.table({**columns, "prompt": [None], "edit_prompt": ["make it red"]}), tmp_path / "a.parquet")
    sheet = np.asarray(Image.open(io.BytesIO(contact_sheet([tmp_path / "a.parquet"]))), int)
    assert (np.abs(sheet - (255, 0, 0)).max(axis=2) < 30).sum() > 150 * 150


def test_each_conversation_begins_a_line(tmp_path):
    columns = {
        name: [{"bytes": saved(Image.new("RGB", (64, 64), "red"))}] * 5 for name in ("input_image", "edited_image")
    }
    turns = {"turn_index": [1, 2, 1, 1, 2], "prompt": [None] * 5, "edit_prompt": ["make it red"] * 5}
    pq.write_table(pa.table({**columns, **turns}), tmp_path / "a.parquet")
    sheet = np.asarray(Image.open(io.BytesIO(contact_sheet([tmp_path / "a.parquet"]))), int)
    is_red = np.abs(sheet - (254, 0, 0)).max(axis=2) < 30
    lines = np.flatnonzero(np.diff(is_red.any(axis=1).astype(int)) == 1)
    # Pixels of red in a row of pixels through each line's images.
    assert [round(is_red[line + 80].sum() / 160) for line in lines] == [4, 2, 4]


def test_images_of_every_shape_are_in_the_middle_of_their_cells_and_lines_are_as_high_as_they_need(tmp_path):
    images = [{"bytes": saved(Image.new("RGB", size, "red"))} for size in ((400, 100), (400, 50))]
    pq.write_table(pa.table({"image": images, "prompt": ["a fox"] * 2}), tmp_path / "a.parquet")
    sheet = Image.open(io.BytesIO(contact_sheet([tmp_path / "a.parquet"])))
    assert sheet.height < 110
