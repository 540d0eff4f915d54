"""Choices on the contact sheet: the score by which an image was chosen, and one that was rejected in its favour."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from imagemill.data.dataset.sheet.rows import Place, read_images
from imagemill.data.storage.locations import Location, arrow_source


class Choices(NamedTuple):
    """Choice of a dataset's images."""

    column: str
    """Of the score: score_<name>, or input_score_<name> where the input of an edit was chosen."""
    rejected: Sequence[Location] = ()
    """The files of rejected/, if they have images."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read of the dataset's rows."""
        return ("id", self.column)

    def fact(self, fields: Mapping[str, Any]) -> list[str]:
        """The score in words; empty if the row has none."""
        score = fields.get(self.column)
        return [f"{self.column.removeprefix('input_').removeprefix('score_')} {score:.3f}"] if score is not None else []


class Rejected(NamedTuple):
    """An image that was rejected in favour of another."""

    text: str
    content: bytes | None


def read_rejected(choices: Choices, ids: Collection[str]) -> dict[str, Rejected]:
    """Of each of these ids the rejected image with the lowest score, where there is one with a score."""
    lowest: dict[str, tuple[float, Place, dict[str, Any]]] = {}
    wanted = pa.array(sorted(ids), pa.string())
    for path in choices.rejected:
        with pq.ParquetFile(arrow_source(path)) as file:
            columns = [name for name in ("id", choices.column, "rejected_by") if name in file.schema_arrow.names]
            if len(columns) < 3:
                continue
            for number in range(file.num_row_groups):
                table = file.read_row_group(number, columns=columns)
                rows = pc.indices_nonzero(pc.is_in(table["id"], wanted))
                for row, fields in zip(rows.to_pylist(), table.take(rows).to_pylist(), strict=True):
                    score = fields[choices.column]
                    if score is not None and (fields["id"] not in lowest or score < lowest[fields["id"]][0]):
                        lowest[fields["id"]] = score, Place(path, number, row), fields
    chosen = sorted(lowest.values(), key=lambda entry: (str(entry[1].path), *entry[1][1:]))
    images = read_images(place for _, place, _ in chosen)
    return {
        fields["id"]: Rejected(", ".join(["rejected", *choices.fact(fields)]), _content(choices, found))
        for (_, _, fields), found in zip(chosen, images, strict=True)
    }


def _content(choices: Choices, images: Mapping[str, bytes | None]) -> bytes | None:
    if choices.column.startswith("input_"):
        return images["input_image"]
    return images["edited_image"] if "edited_image" in images else images["image"]
