"""Images that a build asks for and the dataset holds already, in other rows or with other columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.measures import MeasureColumn
from imagemill.data.dataset.parquet import read_columns, read_encoding, read_image_rows
from imagemill.data.dataset.reader import read_runs
from imagemill.data.dataset.rows import encodings_of, unique_drawings
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.dataset.shard_files import CommittedFile
from imagemill.data.images.codec import decode_image
from imagemill.data.planning.worklist import Worklist
from imagemill.data.records import RowPlan, Staged
from imagemill.data.staging.store import Staging
from imagemill.data.storage.locations import Location


def find_images(worklist: Worklist, path: Location, schema: DatasetSchema) -> int:
    """Note which of the images to draw a committed file holds; returns how many it holds in no usable encoding."""
    encoding = read_encoding(path)
    lossy = first = 0
    for columns in read_columns(path, ["image_key", "input_key", "turn_index"]):
        final, source = columns["image_key"], columns.get("input_key")
        if not encoding.lossless and encoding != schema.encoding:
            lossy += worklist.count_drawings(final)
            continue
        image = "image" if source is None else "edited_image"
        # A lossy image may be kept as it is, but nothing can be generated from it.
        if encoding.lossless or image == schema.image_columns[-1]:
            worklist.restore_from(path.name, first, image, final)
        if source is not None and encoding.lossless:
            # A later turn's source is the turn before, whose own row tells how it was generated.
            turns = columns.get("turn_index") or [None] * len(source)
            firsts = [key if turn in (None, 1) else None for key, turn in zip(source, turns, strict=True)]
            worklist.restore_from(path.name, first, "input_image", firsts)
        first += len(final)
    return lossy


def would_regenerate(images: int, folder: Folder, files: Sequence[CommittedFile], schema: DatasetSchema) -> str:
    """The message that these images would have to be regenerated, since only lossy copies of them are kept."""
    kept = sorted({read_encoding(folder.data / file.name).name for file in files} - {schema.encoding.name})
    speed = next((run["images_per_second"] for run in reversed(read_runs(folder)) if run["generated"]), None)
    cost = f", about {images / speed:,.0f} s at the last build's pace" if speed else ""
    return (
        f"recipe.image_format and quality ask for {schema.encoding.name}, but {images} finished images are kept "
        f"only as {', '.join(kept)}, which has lost pixels: they would have to be regenerated{cost}. Set the format "
        "back, or give recipe.output another folder."
    )


def restore_images(
    folder: Folder, schema: DatasetSchema, items: list[RowPlan], found: list[tuple[str, str, int, str]]
) -> int:
    """Stage those of the items' images that lie in the dataset already; returns how many.

    ``found`` is the worklist's: (image key, file, row in it, image column), by file and row.
    """
    staging, needed, drawings = Staging(folder.staged), encodings_of(items, schema), unique_drawings(items)
    by_place = sorted(found, key=lambda one: (one[1], one[3], one[2]))
    for (file, image), group in groupby(by_place, key=lambda one: (one[1], one[3])):
        path = folder.data / file
        encoding = read_encoding(path)
        places = list(group)
        for (key, *_), (content, fields) in zip(
            places, read_image_rows(path, image, [row for _, _, row, _ in places]), strict=True
        ):
            staged = _staged_from(key, image, content, fields, schema.step_measures)
            staging.put(content, staged, encoding.name)
            staging.missing([drawings[key]], needed, fields["model"])
    return len(found)


def _staged_from(
    key: str, image: str, content: bytes, fields: Mapping[str, Any], measures: Sequence[MeasureColumn]
) -> Staged:
    prefix = "edit_" if image == "edited_image" and "edit_batch_size" in fields else ""
    width, height = decode_image(content, key).size
    names = [measure.name for measure in measures]
    return Staged(
        key=key,
        sha256=fields["input_sha256"] if image == "input_image" else fields["sha256"],
        width=width,
        height=height,
        batch_size=fields[f"{prefix}batch_size"],
        device="",
        measures={name: value for name in names if (value := fields.get(f"{prefix}{name}")) is not None},
    )
