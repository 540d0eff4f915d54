"""Reader of scorers' input images: each is decoded once for all of them, in chunks of bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from imagemill.data.errors import BadRow
from imagemill.data.images.pixels import hash_pixels
from imagemill.data.scores.records import ImageRef, ScoreRequest
from imagemill.data.staging.store import Staging
from imagemill.models.catalog.scorers.spec import ScorerSpec
from imagemill.models.scoring.kind import Look, Pixels
from imagemill.models.scoring.reading import decode, to_mask
from imagemill.models.scoring.threads import THREADS, threads

MAX_CHUNK_BYTES = 384 * 2**20
"""Decoded images of a chunk: 128 of a megapixel. Another chunk is decoded meanwhile."""

AHEAD = 4 * THREADS
"""Images that are decoded at a time, or wait for their turn."""

Asked = tuple[ScorerSpec, ScoreRequest]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Requests for neighbouring images, in the order of the images."""

    looks: Sequence[tuple[ScorerSpec, Look]]
    unreadable: Sequence[tuple[ScoreRequest, str]]
    """Requests whose images cannot be read, and why."""


def chunks(asked: Sequence[Asked], staging: Staging) -> Iterator[Chunk]:
    """The requests with their decoded images; threads decode the next chunk while one is scored."""
    upcoming = _chunks(asked, staging)
    with ThreadPoolExecutor(1, thread_name_prefix="chunk") as reader:
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
    groups = [*by_image.values()]
    for number, group in enumerate(groups):
        for later in groups[number : number + AHEAD]:
            decoder.begin(later)
        for spec, request in group:
            try:
                looks.append((spec, decoder.look(spec, request)))
            except BadRow as error:
                unreadable.append((request, str(error)))
        if decoder.bytes >= MAX_CHUNK_BYTES:
            yield Chunk(looks, unreadable)
            looks, unreadable = [], []
            decoder.forget()
    if looks or unreadable:
        yield Chunk(looks, unreadable)


_Name = tuple[ImageRef, bool]
"""An image, and whether it is read as a mask."""


class _Decoder:
    """Decodes the images of one chunk, each once, in threads."""

    def __init__(self, staging: Staging) -> None:
        self._staging = staging
        self._decoded: dict[_Name, Future[Pixels]] = {}
        self._used: set[_Name] = set()
        self.bytes = 0
        """Of the images that were read."""

    def begin(self, group: Sequence[Asked]) -> None:
        """Begin to decode what these requests read."""
        for spec, request in group:
            for name in _names(spec, request).values():
                if name and name not in self._decoded:
                    self._decoded[name] = threads().submit(_decode, name, self._staging)

    def look(self, spec: ScorerSpec, request: ScoreRequest) -> Look:
        """The request with the images that the scorer reads. Raises BadRow where one cannot be read."""
        return Look(request, **{role: name and self._pixels(name) for role, name in _names(spec, request).items()})

    def forget(self) -> None:
        """Forget all images that were read: another chunk begins."""
        self._decoded = {name: future for name, future in self._decoded.items() if name not in self._used}
        self._used, self.bytes = set(), 0

    def _pixels(self, name: _Name) -> Pixels:
        pixels = self._decoded[name].result()
        if name not in self._used:
            self._used.add(name)
            self.bytes += pixels.image.width * pixels.image.height * len(pixels.image.getbands())
        return pixels


def _names(spec: ScorerSpec, request: ScoreRequest) -> dict[str, _Name | None]:
    """Role -> the image that the scorer reads there."""
    source = request.source if "source" in spec.reads else None
    mask = request.mask if "mask" in spec.reads else None
    return {"image": (request.image, False), "source": source and (source, False), "mask": mask and (mask, True)}


def _decode(name: _Name, staging: Staging) -> Pixels:
    ref, is_mask = name
    image = decode(ref, staging)
    image = to_mask(image) if is_mask else image
    return Pixels(image, hash_pixels(image))
