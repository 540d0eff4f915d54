"""Reuse of images that the dataset already has in other rows or with other columns."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from imagemill.data.dataset.files.shard_files import CommittedFile
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.measure_columns import MeasureColumn
from imagemill.data.dataset.parquet import read_columns, read_encoding, read_image_rows
from imagemill.data.dataset.reader import read_runs
from imagemill.data.dataset.rows import encodings_of, unique_drawings
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.images.codec import Encoding, decode_image
from imagemill.data.planning.worklist import Worklist
from imagemill.data.records import Drawing, RowPlan, Staged
from imagemill.data.staging.store import Staging
from imagemill.data.storage.locations import Location


class FinishedImages:
    """The images of a dataset's rows, and the staged ones, by their keys: read when the first is needed."""

    def __init__(self, worklist: Worklist, folder: Folder, files: Sequence[CommittedFile]) -> None:
        self._worklist, self._folder = worklist, folder
        self._unread = list(files)
        self._are_staged_listed = False

    def __contains__(self, key: object) -> bool:
        while self._unread:
            for columns in read_columns(self._folder.data / self._unread.pop().name, ["image_key"]):
                self._worklist.add_images(columns["image_key"])
        if not self._are_staged_listed:
            self._worklist.add_images({key for key, _ in Staging(self._folder.staged).names()})
            self._are_staged_listed = True
        return self._worklist.has_image(str(key))


def find_images(worklist: Worklist, path: Location, schema: DatasetSchema) -> int:
    """Record which of the images to generate are in a committed file; returns how many are in no usable encoding."""
    encoding = read_encoding(path)
    lossy = first = 0
    for columns in read_columns(path, ["image_key", "input_key", "turn_index"]):
        final, source = columns["image_key"], columns.get("input_key")
        if not encoding.lossless and encoding != schema.encoding:
            lossy += worklist.count_drawings(final)
            continue
        image = "image" if source is None else "edited_image"
        # A lossy image can be kept as it is, but nothing may be generated from it.
        if encoding.lossless or image == schema.image_columns[-1]:
            worklist.restore_from(path.name, first, image, final)
        if source is not None and encoding.lossless:
            # The source of a later turn is the previous turn, whose own row records how it was generated.
            turns = columns.get("turn_index") or [None] * len(source)
            first_sources = [key if turn in (None, 1) else None for key, turn in zip(source, turns, strict=True)]
            worklist.restore_from(path.name, first, "input_image", first_sources)
        first += len(final)
    return lossy


def would_regenerate(images: int, folder: Folder, files: Sequence[CommittedFile], schema: DatasetSchema) -> str:
    """Error text for images that would have to be regenerated, since the dataset has only lossy copies."""
    lossy = sorted({read_encoding(folder.data / file.name).name for file in files} - {schema.encoding.name})
    speed = next((run.get("images_per_second") for run in reversed(read_runs(folder)) if run.get("generated")), None)
    cost = f", about {images / speed:,.0f} s at the last build's pace" if speed else ""
    return (
        f"recipe.image_format and quality ask for {schema.encoding.name}, but {images} finished images are kept "
        f"only as {', '.join(lossy)}, which has lost pixels: they would have to be regenerated{cost}. Set the format "
        "back, or give recipe.output another folder."
    )


def restore_images(
    folder: Folder, schema: DatasetSchema, plans: list[RowPlan], found: list[tuple[str, str, int, str]]
) -> int:
    """Stage the images of these plans that are in the dataset already; returns how many.

    ``found`` comes from the worklist: (image key, file in data/, row in it, image column).
    """
    entries = [(key, f"data/{file}", row, image) for key, file, row, image in found]
    restore_entries(folder, schema, entries, unique_drawings(plans), encodings_of(plans, schema))
    return len(found)


def restore_entries(
    folder: Folder,
    schema: DatasetSchema,
    found: Iterable[tuple[str, str, int, str]],
    drawings: Mapping[str, Drawing],
    needed: Mapping[str, Collection[Encoding]],
) -> None:
    """Stage images that committed files have, in the encodings that are ``needed``.

    ``found``: (image key, file below the dataset's folder, row in it, image column).
    """
    staging = Staging(folder.staged)
    by_column = sorted(found, key=lambda entry: (entry[1], entry[3], entry[2]))
    for (file, image), group in groupby(by_column, key=lambda entry: (entry[1], entry[3])):
        path = folder.root / file
        encoding = read_encoding(path)
        entries = list(group)
        for (key, *_), (content, fields) in zip(
            entries, read_image_rows(path, image, [row for _, _, row, _ in entries]), strict=True
        ):
            assert content is not None, "a committed row has the image that its keys name"
            staged = _staged_from(key, image, content, fields, schema.step_measures)
            staging.put(content, staged, encoding.name)
            staging.missing([drawings[key]], needed)


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
