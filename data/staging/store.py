"""Store of staged images: generated and encoded, until their shard is committed.

Their image key finds them for an edit, for the writer of the shard's Parquet file, and for the build after a kill. The
images of a committed shard are removed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import Image

from imagemill.data.errors import BadRow
from imagemill.data.images.codec import LOSSLESS, Encoding, decode_image, encode_image
from imagemill.data.images.provenance.details import ModelDetails
from imagemill.data.images.provenance.texts import provenance, read_provenance
from imagemill.data.records import Drawing, Staged
from imagemill.data.staging.bundles import BundleEntry, Name, staged_files


@dataclass(frozen=True, slots=True)
class Generated:
    """Generation of an image, as its record (data.records.Staged) has it."""

    model: str
    batch_size: int
    device: str
    measures: Mapping[str, Any] = field(default_factory=dict)
    details: ModelDetails = field(default_factory=ModelDetails)
    """For the image's own metadata."""


@dataclass(frozen=True, slots=True)
class StageRequest:
    """A generated image to stage, in each of its encodings."""

    image: Image.Image
    drawing: Drawing
    encodings: Collection[Encoding]
    generated: Generated


class Staging:
    """The staged images of one folder, which several processes and machines may use at once.

    An object is for one job: it lists the folder on first use, and again for an image that it does not find.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files = staged_files(str(folder))
        self._is_listed = False

    def put(self, content: bytes, staged: Staged, encoding: str) -> None:
        """Stage one encoded image atomically."""
        self._files.add([(encoding, content, staged)])

    def stage(self, images: Sequence[StageRequest]) -> None:
        """Encode images in each of their encodings and stage them together, atomically."""
        encoded = []
        for request in images:
            drawing, image, generated = request.drawing, request.image, request.generated
            how = *image.size, generated.batch_size, generated.device, generated.measures
            for encoding in request.encodings:
                texts = provenance(drawing, image.size, generated.model, generated.details, encoding.version)
                content = encode_image(image, encoding, *texts)
                encoded.append((encoding.name, content, Staged(drawing.key, _sha256(content), *how)))
        self._files.add(encoded)

    def missing(self, drawings: Iterable[Drawing], encodings: Mapping[str, Collection[Encoding]]) -> list[Drawing]:
        """The drawings that are not staged in each of their ``encodings`` (by image key).

        An encoding that can be made from a staged lossless image is made.
        """
        self._refresh()
        missing = []
        for drawing in drawings:
            lacking = [item for item in encodings[drawing.key] if not self._files.entry((drawing.key, item.name))]
            if lacking and not self._make(drawing, lacking):
                missing.append(drawing)
        return missing

    def _make(self, drawing: Drawing, encodings: Collection[Encoding]) -> bool:
        """Make them from the lossless image, with its metadata; False if there is none."""
        if not self._files.entry((drawing.key, LOSSLESS)) or (found := self.read(drawing.key, LOSSLESS)) is None:
            return False
        content, staged = found
        try:
            image, texts = decode_image(content, drawing.key), read_provenance(content, drawing.key)
        except BadRow:
            # Whole, but no image: not from a build.
            self.remove({drawing.key: [Encoding(LOSSLESS)]})
            return False
        made = [(encoding.name, encode_image(image, encoding, *texts)) for encoding in encodings]
        self._files.add([(name, content, replace(staged, sha256=_sha256(content))) for name, content in made])
        return True

    def add_measures(self, key: str, encodings: Iterable[Encoding], values: Mapping[str, Any]) -> None:
        """Add a staged image's measures to its record, in each encoding."""
        for encoding in encodings:
            if found := self.read(key, encoding.name):
                content, staged = found
                self.put(content, replace(staged, measures={**staged.measures, **values}), encoding.name)

    def find(self, key: str, encoding: str) -> Staged | None:
        """The record of the image, or None if it is not staged in this encoding."""
        entry = self._entry(key, encoding)
        return None if entry is None else entry.staged

    def read(self, key: str, encoding: str) -> tuple[bytes, Staged] | None:
        """The encoded image and its record; None if it is not staged, or is damaged and so removed."""
        entry = self._entry(key, encoding)
        # Tried twice: the image may have been staged again in another file.
        for _ in range(2):
            if entry is None:
                return None
            try:
                content = entry.content()
            except FileNotFoundError:
                self._refresh()
            else:
                if _sha256(content) == entry.staged.sha256:
                    return content, entry.staged
                self._files.drop(entry)
            entry = self._files.entry((key, encoding))
        return None

    def names(self) -> set[Name]:
        """The names of all staged images: image key, and name of the encoding."""
        self._refresh()
        return self._files.names()

    def remove(self, images: Mapping[str, Iterable[Encoding]]) -> None:
        """Remove images: image key -> encodings to remove."""
        self._refresh()
        self._files.remove({(key, encoding.name) for key, encodings in images.items() for encoding in encodings})

    def _entry(self, key: str, encoding: str) -> BundleEntry | None:
        name = key, encoding
        if self._is_listed and (entry := self._files.entry(name)):
            return entry
        self._refresh()
        if self._files.entry(name) is None:
            self._files.refresh(remote=True)
        return self._files.entry(name)

    def _refresh(self) -> None:
        self._files.refresh()
        self._is_listed = True


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
