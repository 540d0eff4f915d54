"""The contact sheet shows every row, also one whose input image is truncated or cannot be read on this machine."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from imagemill.data.dataset.contact_sheet import contact_sheet

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
