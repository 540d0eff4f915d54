"""Pictures that a build asks for and the dataset holds already, in other rows or with other columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.parquet import read_columns, read_encoding, read_picture_rows
from imagemill.data.dataset.rows import encodings_of, unique_drawings
from imagemill.data.dataset.schema import Layout
from imagemill.data.dataset.shard_files import CommittedFile
from imagemill.data.images.codec import decode_picture
from imagemill.data.planning.worklist import Worklist
from imagemill.data.records import Item, Staged
from imagemill.data.staging.store import Staging
from imagemill.data.storage.jsonl import read_lines
from imagemill.data.storage.locations import Location


def find_pictures(worklist: Worklist, path: Location, layout: Layout) -> int:
    """Note which of the pictures to draw a committed file holds; returns how many it holds in no usable encoding."""
    encoding = read_encoding(path)
    lossy = first = 0
    for columns in read_columns(path, ["image_key", "input_key", "turn_index"]):
        final, source = columns["image_key"], columns.get("input_key")
        if not encoding.lossless and encoding != layout.encoding:
            lossy += worklist.count_drawings(final)
            continue
        picture = "image" if source is None else "edited_image"
        # A lossy picture may be kept as it is, but nothing can be drawn from it.
        if encoding.lossless or picture == layout.picture_columns[-1]:
            worklist.restore_from(path.name, first, picture, final)
        if source is not None and encoding.lossless:
            # A later turn's source is the turn before, whose own row tells how it was drawn.
            turns = columns.get("turn_index") or [None] * len(source)
            firsts = [key if turn in (None, 1) else None for key, turn in zip(source, turns, strict=True)]
            worklist.restore_from(path.name, first, "input_image", firsts)
        first += len(final)
    return lossy


def would_redraw(pictures: int, folder: Folder, files: Sequence[CommittedFile], layout: Layout) -> str:
    """The message that these pictures would have to be drawn again, since only lossy copies of them are kept."""
    kept = sorted({read_encoding(folder.data / file.name).name for file in files} - {layout.encoding.name})
    speed = next((run["images_per_second"] for run in reversed([*read_lines(folder.runs)]) if run["drawn"]), None)
    cost = f", about {pictures / speed:,.0f} s at the last build's pace" if speed else ""
    return (
        f"recipe.image_format and quality ask for {layout.encoding.name}, but {pictures} finished pictures are kept "
        f"only as {', '.join(kept)}, which has lost pixels: they would have to be drawn again{cost}. Set the format "
        "back, or give recipe.output another folder to draw them there."
    )


def restore_pictures(folder: Folder, layout: Layout, items: list[Item], found: list[tuple[str, str, int, str]]) -> int:
    """Stage those of the items' pictures that lie in the dataset already; returns how many.

    ``found`` is the worklist's: (image key, file, row in it, picture column), by file and row.
    """
    staging, needed, drawings = Staging(folder.staged), encodings_of(items, layout), unique_drawings(items)
    by_place = sorted(found, key=lambda one: (one[1], one[3], one[2]))
    for (file, picture), group in groupby(by_place, key=lambda one: (one[1], one[3])):
        path = folder.data / file
        encoding = read_encoding(path)
        places = list(group)
        for (key, *_), (content, fields) in zip(
            places, read_picture_rows(path, picture, [row for _, _, row, _ in places]), strict=True
        ):
            staged = _staged_from(key, picture, content, fields)
            staging.put(content, staged, encoding.name)
            staging.missing([drawings[key]], needed, fields["model"])
    return len(found)


def _staged_from(key: str, picture: str, content: bytes, fields: Mapping[str, Any]) -> Staged:
    prefix = "edit_" if picture == "edited_image" and "edit_batch_size" in fields else ""
    width, height = decode_picture(content, key).size
    return Staged(
        key=key,
        sha256=fields["input_sha256"] if picture == "input_image" else fields["sha256"],
        width=width,
        height=height,
        batch_size=fields[f"{prefix}batch_size"],
        device="",
        truncated=fields.get(f"{prefix}prompt_truncated"),
    )
