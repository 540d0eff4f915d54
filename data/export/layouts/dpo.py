"""Preference pairs for Direct Preference Optimisation, in the columns of Pick-a-Pic.

``caption``, ``jpg_0`` and ``jpg_1`` (encoded bytes, whatever their format), ``label_0`` and ``label_1``: diffusers'
train_diffusion_dpo.py reads them (https://github.com/huggingface/diffusers/tree/main/examples/research_projects).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from imagemill.data.dataset.arrow_table import table_of
from imagemill.data.export.entry import Choices, Named, Row

ROWS_PER_GROUP = 100
"""Pairs in a row group: about 200 images."""

_SCHEMA = pa.schema(
    [
        pa.field("caption", pa.string()),
        pa.field("jpg_0", pa.binary()),
        pa.field("jpg_1", pa.binary()),
        pa.field("label_0", pa.float64()),
        pa.field("label_1", pa.float64()),
        pa.field("image_0_uid", pa.string()),
        pa.field("image_1_uid", pa.string()),
    ]
)


def write_dpo(path: Path, rows: Iterable[tuple[Row, Named]], choices: Choices) -> None:
    """Write one Parquet file of pairs."""
    pairs = (_pair(row) for row, _ in rows)
    with pq.ParquetWriter(path, _SCHEMA, compression="none") as writer:
        while group := list(islice(pairs, ROWS_PER_GROUP)):
            writer.write_table(table_of(group, _SCHEMA))


def _pair(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        # Of an edit the instruction is what both images answer to.
        "caption": row.get("edit_prompt") or row["prompt"],
        "jpg_0": row["image_0"]["bytes"],
        "jpg_1": row["image_1"]["bytes"],
        "label_0": row["label_0"],
        "label_1": row["label_1"],
        "image_0_uid": row.get("image_key_0"),
        "image_1_uid": row.get("image_key_1"),
    }
