"""Notes on a dataset for its card, from the rows themselves: languages of the prompts, and formats of the images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import PurePath
from typing import Any

import pyarrow.parquet as pq

from imagemill.data.dataset.describe.languages import languages_of
from imagemill.data.dataset.files.inverse import is_inverse
from imagemill.data.storage.locations import Location, arrow_source

MAX_TEXTS = 5_000
"""Rows, spread over the dataset, whose prompts are read."""

_TEXTS = ("prompt", "edit_prompt")


@dataclass(frozen=True, slots=True)
class CardNotes:
    """Facts of the rows for the card."""

    languages: tuple[str, ...] = ()
    """ISO 639-1 codes, the most frequent first."""
    formats: tuple[tuple[str, int], ...] = ()
    """Format of the rows' images -> number of rows, the most frequent first; without inverse rows."""
    inverse: int = 0
    """Inverse rows."""

    def head(self) -> dict[str, Any]:
        """Entries of the card's head."""
        return ({"language": list(self.languages)} if self.languages else {}) | {
            "annotations_creators": ["machine-generated"]
        }

    def body(self) -> str:
        """Sentences, each with a line's end before it; empty if there is nothing to say."""
        sentences = []
        if self.languages:
            sentences.append("The languages above are guessed from the prompts' letters and most frequent words.")
        if len(self.formats) > 1:
            counts = ", ".join(f"{name} in {rows:,} row{'s' * (rows > 1)}" for name, rows in self.formats)
            sentences.append(
                f"The images have several formats: {counts}. `manifest.json` has the last build's recipe, whose "
                "`image_format` is that of the newest rows; each image's `path` ends with its own."
            )
        if self.inverse:
            sentences.append(
                f"{self.inverse:,} rows, those with `inverse`, have the images of another row in the other order, and "
                "its `inverse_edit` as\ninstruction. Their model, seed and settings are those that generated that "
                "row's edited image."
            )
        return "".join(f"\n{sentence}\n" for sentence in sentences)


def card_notes(paths: Sequence[Location]) -> CardNotes:
    """The notes on these committed files."""
    rows = sum(pq.read_metadata(arrow_source(path)).num_rows for path in paths)
    texts: list[str] = []
    formats: Counter[str] = Counter()
    inverse, step = 0, max(1, rows // MAX_TEXTS)
    for path in paths:
        for columns in _columns(path):
            for name in _TEXTS:
                texts += filter(None, columns.get(name, [])[::step])
            is_forward = [not is_inverse(key) for key in columns["row_key"]]
            inverse += is_forward.count(False)
            formats.update(PurePath(file or "").suffix.lstrip(".") for file in compress(columns["file"], is_forward))
    formats.pop("", None)
    return CardNotes(languages_of(texts), tuple(formats.most_common()), inverse)


def _columns(path: Location) -> Iterator[dict[str, list[Any]]]:
    """Prompts, and the file names of the rows' images; the images themselves are not read."""
    with pq.ParquetFile(arrow_source(path)) as file:
        names = file.schema_arrow.names
        image = "edited_image" if "edited_image" in names else "image"
        columns = [*(name for name in _TEXTS if name in names), "row_key", f"{image}.path"]
        for batch in file.iter_batches(batch_size=8192, columns=columns):
            found = batch.to_pydict()
            yield {**found, "file": [image and image["path"] for image in found[image]]}
