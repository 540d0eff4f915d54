"""Staged images: generated, encoded, and waiting for their shard to be committed.

An image is staged by its image key, so that whoever needs it next - an edit, the shard's Parquet file, or the
build that comes after a kill - finds it, whatever drew it. A finished shard's images are removed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import Image

from imagemill.data.images.codec import LOSSLESS, Encoding, decode_image, encode_image, generation_parameters
from imagemill.data.records import Drawing, Staged
from imagemill.data.staging.bundles import BundleEntry, Name, staged_files


@dataclass(frozen=True, slots=True)
class Generated:
    """How an image was generated, as its record (data.records.Staged) has it."""

    model: str
    batch_size: int
    device: str
    measures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StageRequest:
    """A generated image and how it is staged."""

    image: Image.Image
    drawing: Drawing
    encodings: Collection[Encoding]
    generated: Generated


class Staging:
    """The staged images below one folder. Several processes and machines may use it at once.

    An object is for one job: it looks into the folder when it is first asked, and again for what it does not find.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files = staged_files(str(folder))
        self._is_listed = False

    def put(self, content: bytes, generated: Staged, encoding: str) -> None:
        """Stage one encoded image; it is there wholly or not at all."""
        self._files.add([(encoding, content, generated)])

    def stage(self, images: Sequence[StageRequest]) -> None:
        """Encode images in every way that is needed and stage them together, wholly or not at all."""
        encoded = []
        for request in images:
            drawing, image, generated = request.drawing, request.image, request.generated
            parameters = generation_parameters(drawing, image.size, generated.model)
            how = generated.batch_size, generated.device, generated.measures
            for encoding in request.encodings:
                content = encode_image(image, encoding, parameters)
                sha256 = hashlib.sha256(content).hexdigest()
                encoded.append((encoding.name, content, Staged(drawing.key, sha256, *image.size, *how)))
        self._files.add(encoded)

    def missing(
        self, drawings: Iterable[Drawing], encodings: Mapping[str, Collection[Encoding]], model: str
    ) -> list[Drawing]:
        """Those that are not staged in each of their encodings; what can be made from a lossless image is made.

        ``encodings``: image key -> those that are needed.
        """
        self._refresh()
        missing = []
        for drawing in drawings:
            lacking = [one for one in encodings[drawing.key] if not self._files.place((drawing.key, one.name))]
            if lacking and not self._make(drawing, lacking, model):
                missing.append(drawing)
        return missing

    def _make(self, drawing: Drawing, encodings: Collection[Encoding], model: str) -> bool:
        if not self._files.place((drawing.key, LOSSLESS)) or (found := self.read(drawing.key, LOSSLESS)) is None:
            return False
        content, staged = found
        how = Generated(model, staged.batch_size, staged.device, staged.measures)
        self.stage([StageRequest(decode_image(content, drawing.key), drawing, encodings, how)])
        return True

    def add_measures(self, key: str, encodings: Iterable[Encoding], values: Mapping[str, Any]) -> None:
        """Add a staged image's measures to its record, in each encoding."""
        for encoding in encodings:
            if found := self.read(key, encoding.name):
                content, staged = found
                self.put(content, replace(staged, measures={**staged.measures, **values}), encoding.name)

    def find(self, key: str, encoding: str) -> Staged | None:
        """How the image was generated, or None where it is not staged in this encoding."""
        place = self._place(key, encoding)
        return place and place.staged

    def read(self, key: str, encoding: str) -> tuple[bytes, Staged] | None:
        """The encoded image and how it was generated; None where it is not staged, or is damaged (then it goes)."""
        place = self._place(key, encoding)
        # Twice at the most: it may be staged in another file since, or in two.
        for _ in range(2 if place else 0):
            try:
                content = place.content()
            except FileNotFoundError:
                self._refresh()
            else:
                if hashlib.sha256(content).hexdigest() == place.staged.sha256:
                    return content, place.staged
                self._files.drop(place)
            if (place := self._files.place((key, encoding))) is None:
                return None
        return None

    def names(self) -> set[Name]:
        """The image key and the encoding's name of each image that is staged."""
        self._refresh()
        return self._files.names()

    def remove(self, images: Mapping[str, Iterable[Encoding]]) -> None:
        """Remove images: image key -> the encodings in which they go."""
        self._refresh()
        self._files.remove({(key, encoding.name) for key, encodings in images.items() for encoding in encodings})

    def _place(self, key: str, encoding: str) -> BundleEntry | None:
        name = key, encoding
        if self._is_listed and (place := self._files.place(name)):
            return place
        self._refresh()
        if self._files.place(name) is None:
            self._files.refresh(surely=True)
        return self._files.place(name)

    def _refresh(self) -> None:
        self._files.refresh()
        self._is_listed = True
