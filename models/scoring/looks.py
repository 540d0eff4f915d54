"""Reader of the images that scorers look at: each is decoded once for all of them, in chunks of bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from PIL import Image

from imagemill.data.errors import BadRow
from imagemill.data.images.codec import decode_image
from imagemill.data.images.pixels import hash_pixels
from imagemill.data.images.sources import read_unchanged
from imagemill.data.messages import shown
from imagemill.data.scores.records import ImageRef, ScoreRequest
from imagemill.data.staging.store import Staging
from imagemill.models.catalog.scorers.spec import ScorerSpec
from imagemill.models.scoring.kind import Look, Pixels

MAX_CHUNK_BYTES = 128 * 2**20
"""Decoded images of a chunk: 40 of a megapixel. Another chunk is decoded meanwhile."""

Asked = tuple[ScorerSpec, ScoreRequest]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Requests for neighbouring images, in the order of the images."""

    looks: Sequence[tuple[ScorerSpec, Look]]
    unreadable: Sequence[tuple[ScoreRequest, str]]
    """Requests whose images cannot be read, and why."""


def chunks(asked: Sequence[Asked], staging: Staging) -> Iterator[Chunk]:
    """The requests with their decoded images; a thread decodes the next chunk while one is scored."""
    upcoming = _chunks(asked, staging)
    with ThreadPoolExecutor(1, thread_name_prefix="decode") as reader:
        future = reader.submit(next, upcoming, None)
        while (chunk := future.result()) is not None:
            future = reader.submit(next, upcoming, None)
            yield chunk


def _chunks(asked: Sequence[Asked], staging: Staging) -> Iterator[Chunk]:
    looks: list[tuple[ScorerSpec, Look]] = []
    unreadable: list[tuple[ScoreRequest, str]] = []
    decoder = _Decoder(staging)
    by_image: dict[ImageRef, list[Asked]] = {}
    for spec, request in asked:
        by_image.setdefault(request.image, []).append((spec, request))
    for of_image in by_image.values():
        for spec, request in of_image:
            try:
                looks.append((spec, decoder.look(spec, request)))
            except BadRow as error:
                unreadable.append((request, str(error)))
        if decoder.bytes >= MAX_CHUNK_BYTES:
            yield Chunk(looks, unreadable)
            looks, unreadable, decoder = [], [], _Decoder(staging)
    if looks or unreadable:
        yield Chunk(looks, unreadable)


class _Decoder:
    """Decodes the images of one chunk."""

    def __init__(self, staging: Staging) -> None:
        self._staging = staging
        self._decoded: dict[tuple[ImageRef, bool], Pixels | str] = {}
        self.bytes = 0
        """Of the decoded images."""

    def look(self, spec: ScorerSpec, request: ScoreRequest) -> Look:
        """The request with the images that the scorer reads. Raises BadRow where one cannot be read."""
        reads_source = "source" in spec.reads and request.source is not None
        reads_mask = "mask" in spec.reads and request.mask is not None
        image = self._pixels(request.image)
        return Look(
            request,
            image,
            self._pixels(request.source) if reads_source else None,
            self._pixels(request.mask, is_mask=True) if reads_mask else None,
        )

    def _pixels(self, ref: ImageRef, is_mask: bool = False) -> Pixels:
        if (ref, is_mask) not in self._decoded:
            try:
                image = decode(ref, self._staging)
            except BadRow as error:
                self._decoded[ref, is_mask] = str(error)
            else:
                image = to_mask(image) if is_mask else image
                self.bytes += image.width * image.height * len(image.getbands())
                self._decoded[ref, is_mask] = Pixels(image, hash_pixels(image))
        found = self._decoded[ref, is_mask]
        if isinstance(found, str):
            raise BadRow(found)
        return found


def to_mask(image: Image.Image) -> Image.Image:
    """The mask that is read from an image, as an inpainting reads it: black or white, mode L."""
    return image.convert("L").point(lambda value: 255 * (value >= 128))


def decode(ref: ImageRef, staging: Staging) -> Image.Image:
    """The image in RGB. Raises BadRow where it is missing, damaged, or not the one that the request names."""
    if ref.path is not None:
        content = read_unchanged("image", ref.path, ref.sha256)
        return decode_image(content, ref.path, reading=ref.reading, truncated=ref.truncated)
    assert ref.key is not None, "an image without a path is staged"
    assert ref.encoding is not None, "a staged image has an encoding"
    found = staging.read(ref.key, ref.encoding)
    if found is None:
        raise BadRow(f"the image to score, {ref.key}, is not staged as {shown(ref.encoding)}")
    content, staged = found
    if staged.sha256 != ref.sha256:
        raise BadRow(f"the image to score, {ref.key}, was staged again with other bytes")
    return decode_image(content, ref.key)
