"""Finished datasets for the tests of exports, written with the parts that a build uses."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.parquet import write_rows
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.identity import digest
from imagemill.data.images.codec import Encoding


def png(number: int) -> bytes:
    """An image that no other number has."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (number >> 16 & 255, number >> 8 & 255, number & 255)).save(buffer, "PNG")
    return buffer.getvalue()


def schema(edits: bool = True, **fields: Any) -> DatasetSchema:
    """The schema of a dataset of edits, or of text to image."""
    return DatasetSchema(False, edits, Encoding("png"), {"caption": "str", "style": "str"}, **fields)


def row(id_: str, number: int, edits: bool = True, **fields: Any) -> dict[str, Any]:
    """A row whose images are those of ``number``; equal arguments give equal rows."""
    images = {"input_image": 2 * number, "edited_image": 2 * number + 1} if edits else {"image": number}
    columns: dict[str, Any] = {name: {"bytes": png(one), "path": f"{one}.png"} for name, one in images.items()}
    columns |= {"prompt": f"prompt {number}", "id": id_, "variant": 0, "caption": f"é {number}", "style": "ink"}
    columns |= {"edit_prompt": f"edit {number}"} if edits else {}
    columns |= {"width": 8, "height": 8, "sha256": str(number), **fields}
    return columns | {"row_key": digest([id_, number, str(sorted(fields.items()))])}


def publish(folder: Path, rows: Sequence[dict[str, Any]], made: DatasetSchema, rows_per_file: int = 2) -> Path:
    """Make these rows the finished dataset in the folder, in place of those before."""
    output = Folder(folder)
    for path in output.data.glob("*") if output.data.exists() else []:
        path.unlink()
    files = []
    for number, start in enumerate(range(0, len(rows), rows_per_file)):
        scratch = output.scratch("shard.parquet")
        file = write_rows(scratch, made, rows[start : start + rows_per_file])
        files.append(asdict(output.commit(scratch, number, file)))
    about = {"fingerprint": digest([one["row_key"] for one in rows]), "rows": len(rows), "files": files}
    about |= {"recipe": {"name": "small"}, "models": {}, "versions": {}, "hardware": {}}
    output.manifest.write_text(json.dumps(about))
    return folder
