"""Inverse rows: the images of an edit in the other order, with the instruction that leads back.

An inverse row is derived from its forward row, whose key begins its own. It has the same bytes of images, so nothing is
generated for it. Its scores are null, and the columns of settings are those with which the forward row was generated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from imagemill.data.dataset.arrow_table import mask_of, table_of
from imagemill.data.dataset.files.area import DATA
from imagemill.data.dataset.files.collecting import Collectors
from imagemill.data.dataset.files.outcomes import OutcomeColumn, outcomes_in
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.parquet import as_field, encoding_of, read_columns, read_schema
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.identity import digest, image_key
from imagemill.data.images.opening import open_image
from imagemill.data.storage.locations import Location, arrow_source

INVERSE = OutcomeColumn("inverse", "bool")
"""True if a row is an inverse one."""

INSTRUCTION = "inverse_edit"
"""Column of the prompts with the instruction that leads back; a list where the row has several instructions."""

_MARK = "-inverse"

_SHARED = ("candidate", "split")
"""Outcomes that an inverse row has from its forward row."""

_SWAPPED = {
    "input_image": "edited_image",
    "edited_image": "input_image",
    "input_sha256": "sha256",
    "sha256": "input_sha256",
    "input_key": "image_key",
}
"""Column of an inverse row -> column of its forward row."""


@dataclass(frozen=True, slots=True)
class Inverse:
    """An inverse row to write."""

    row_key: str
    instruction: str
    split: str
    outcomes: Mapping[str, Any]


def inverse_key(row_key: str, instruction: str) -> str:
    """The key of the inverse row of the row with this key."""
    return f"{row_key}{_MARK}-{digest(instruction)[:16]}"


def is_inverse(row_key: str) -> bool:
    """True if the row with this key is an inverse one."""
    return _MARK in row_key


def forward_key(row_key: str) -> str:
    """The key of an inverse row's forward row; of another row its own."""
    return row_key.partition(_MARK)[0]


def outcomes_of_inverse(forward: Mapping[str, Any]) -> dict[str, Any]:
    """The outcomes of an inverse row, from those of its forward row."""
    return {name: forward[name] for name in _SHARED if name in forward} | {INVERSE.name: True}


Lacking = Callable[[Sequence[str]], Mapping[str, Inverse]]
"""Row keys -> of those that lack their inverse row, that row."""


def add_inverses(folder: Folder, schema: DatasetSchema, lacking: Lacking) -> int:
    """Write the inverse rows that the dataset lacks into new files of data/; returns how many. The folder is locked.

    All rows are in their places, with the columns of ``schema``. Memory: two row groups.
    """
    added = 0
    files = folder.committed()[0]
    with Collectors(folder) as collectors:
        for file in files:
            path = folder.data / file.name
            for rows, made in _of_file(path, lacking):
                for split in sorted({inverse.split for inverse in made}):
                    is_here = [inverse.split == split for inverse in made]
                    chosen = [inverse for inverse in made if inverse.split == split]
                    table = _inverted(rows.filter(mask_of(is_here)), _schema_of(path, schema), chosen)
                    collectors.add((DATA, split), table)
                added += len(made)
    return added


def inverse_keys(folder: Folder) -> Iterator[list[str]]:
    """The keys of the inverse rows in data/, a few thousand rows at a time."""
    for file in folder.committed()[0]:
        for columns in read_columns(folder.data / file.name, ["row_key"]):
            yield list(filter(is_inverse, columns["row_key"]))


def _of_file(path: Location, lacking: Lacking) -> Iterator[tuple[pa.Table, list[Inverse]]]:
    """The forward rows of each row group that lack their inverse rows, and these."""
    with pq.ParquetFile(arrow_source(path)) as file:
        for group in range(file.num_row_groups):
            keys: list[str] = file.read_row_group(group, columns=["row_key"])["row_key"].to_pylist()
            found = lacking([key for key in keys if not is_inverse(key)])
            if found:
                rows = file.read_row_group(group).filter(mask_of([key in found for key in keys]))
                yield rows, [found[key] for key in keys if key in found]


def _schema_of(path: Location, schema: DatasetSchema) -> pa.Schema:
    """The dataset's schema, with the encoding of a file's images."""
    target = schema.arrow()
    return target.with_metadata({**target.metadata, b"imagemill": encoding_of(read_schema(path), path)})


def _inverted(rows: pa.Table, target: pa.Schema, made: Sequence[Inverse]) -> pa.Table:
    """The inverse rows of these forward rows."""
    outcomes = outcomes_in(target).names
    columns = ["id", "input_image", "input_sha256", "input_key"]
    values = [
        {
            "id": f"{fields['id']}{_MARK}",
            "row_key": inverse.row_key,
            "edit_prompt": inverse.instruction,
            "image_key": fields["input_key"] or _given_key(fields["input_sha256"]),
            **_size_of(fields["input_image"]),
            **inverse.outcomes,
        }
        for fields, inverse in zip(rows.select(columns).to_pylist(), made, strict=True)
    ]
    own = ["id", "row_key", "edit_prompt", "image_key", "width", "height", *outcomes]
    written = table_of(values, pa.schema([target.field(name) for name in own]))
    return pa.Table.from_arrays(
        [
            written[field.name] if field.name in own else as_field(rows, field, _SWAPPED.get(field.name, field.name))
            for field in target
        ],
        schema=target,
    )


def _given_key(sha256: str) -> str:
    """The image key of an image that was given: of its file."""
    return image_key("given", {}, {"source": f"sha256:{sha256}"})


def _size_of(image: Mapping[str, Any]) -> dict[str, int]:
    width, height = open_image(BytesIO(image["bytes"]), image["path"] or "input_image", header_only=True).size
    return {"width": width, "height": height}
