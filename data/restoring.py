"""Pictures that a build asks for and the dataset holds already, in other rows or with other columns."""

from __future__ import annotations

from collections.abc import Sequence

from data.folder import Folder
from data.layout import Layout
from data.lines import read_lines
from data.parquet import read_columns, read_encoding
from data.records import CommittedFile
from data.storage import Location
from data.worklist import Worklist


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
