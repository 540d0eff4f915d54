"""Arrow tables of rows are exactly those of pyarrow's own conversion, without its imports."""

from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
import pytest

from imagemill.data.dataset.arrow_table import table_of
from imagemill.data.dataset.schema import IMAGE, IMAGES

KINDS = {
    "image": IMAGE,
    "input_images": IMAGES,
    "prompt": pa.string(),
    "seed": pa.int64(),
    "steps": pa.int32(),
    "guidance_scale": pa.float64(),
    "unsafe": pa.bool_(),
}
SCHEMA = pa.schema(list(KINDS.items()))

FULL = {
    "image": {"bytes": b"\x00\xff", "path": "ä.png"},
    "input_images": [{"bytes": b"1", "path": "first"}, {"bytes": b"", "path": "second"}],
    "prompt": "a fox, 狐",
    "seed": 2**62,
    "steps": -4,
    "guidance_scale": 3.5,
    "unsafe": True,
}
EMPTY = {"image": {"bytes": b"", "path": ""}, "input_images": [], "prompt": "", "seed": 0, "unsafe": False}


@pytest.mark.parametrize(
    "rows",
    [[FULL], [EMPTY], [FULL, EMPTY, {}] * 5, [{}], [], [{"image": {"bytes": b"1"}}]],
    ids=["full", "empty", "mixed", "null", "none", "part"],
)
def test_a_table_is_equal_to_pyarrows_own(rows: list[dict]):
    table = table_of(rows, SCHEMA)
    table.validate(full=True)
    assert table.equals(pa.Table.from_pylist(rows, schema=SCHEMA))


@pytest.mark.parametrize("wrong", [{"steps": 1.5}, {"steps": 2**31}, {"seed": "1"}, {"prompt": "\ud800"}], ids=str)
def test_a_value_that_does_not_fit_its_column_is_refused(wrong: dict):
    with pytest.raises((TypeError, OverflowError, UnicodeEncodeError)):
        table_of([FULL | wrong], SCHEMA)


def test_writing_a_shard_imports_no_pandas():
    code = """
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from imagemill.data.images.codec import Encoding
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.dataset.parquet import write_rows
row = {"image": {"bytes": b"1", "path": "1.png"}, "prompt": "a fox", "variant": 0}
with TemporaryDirectory() as folder:
    write_rows(Path(folder, "one.parquet"), DatasetSchema(False, False, Encoding("png"), {}), [row])
sys.exit("pandas" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
