"""Records of scoring: facts of a scorer, requests for scores, and scores. None holds pixels, a model or a tensor."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from imagemill.data.identity import digest
from imagemill.data.records import Failure, WorkerStats

Reads = Literal["text", "source", "before", "mask"]
"""Inputs of a scorer beside the image: its text, the edit's source, the text before the edit, the mask."""

DECIMALS = 4
"""Decimal places of a score: what differs between batch sizes and devices is beyond them, as a rule."""


def rounded(score: float) -> float:
    """A score as it is stored and compared: with DECIMALS places. Raises ValueError if it is not finite."""
    if not math.isfinite(score):
        raise ValueError(f"a score is a finite number, not {score}")
    # Plus zero: -0.0 becomes 0.0.
    return round(float(score), DECIMALS) + 0.0


@dataclass(frozen=True, slots=True)
class ScorerFacts:
    """Facts of a scorer that planning and the ledger need, known without loading it."""

    name: str
    """Its name in the recipe, and in the column ``score_<name>``."""
    kind: str
    identity: Mapping[str, Any]
    """Everything about the scorer that decides its scores: files or commit, kind, backend, dtype, label, head, ..."""
    reads: frozenset[Reads] = frozenset()
    model: str | None = None
    """None for a scorer without a model."""
    revision: str | None = None
    """Commit of the model's repository, or the hash of its files."""
    licence: str = ""
    text: str | None = None
    """Column of the text that it reads; None for the step's default."""
    has_vector: bool = False
    """True if its scores carry a vector, for near-duplicates."""
    question: str | None = None
    """The question of a chat scorer, with names of the row's columns in braces; None for another scorer."""
    asker: str | None = None
    """Name of a chat scorer in the recipe, of whose answer this is one field."""
    is_text: bool = False
    """True if it gives a text, which is a column of its name, and no score."""
    is_of_edits: bool = False
    """True if it scores edits alone."""

    @property
    def id(self) -> str:
        """Its key in the ledger: 32 hexadecimal digits over ``identity``. The name in the recipe does not count."""
        return digest(self.identity)


@dataclass(frozen=True, slots=True)
class ImageRef:
    """Location of an image to score: staged (``key`` and ``encoding``), or a given file (``path``)."""

    key: str | None
    """Image key of a staged image."""
    encoding: str | None
    """Name of the encoding that it is staged in."""
    path: str | None
    """Path of a given image."""
    sha256: str
    """Of the encoded bytes."""
    reading: int = 1
    """Version of a given image's conversion (data.images.modes)."""
    truncated: bool = False
    """True if a given image whose file ends early is read as far as it goes."""

    def __post_init__(self) -> None:
        if (self.key is None) == (self.path is None) or (self.key is None) != (self.encoding is None):
            raise ValueError("an image is staged, with a key and an encoding, or given, with a path")


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """One score to compute, by the scorer that the job lists it under."""

    id: str
    """``request_id`` of what follows."""
    image_key: str
    image: ImageRef
    source: ImageRef | None = None
    """The edit's source, for a scorer that reads it; likewise the others."""
    mask: ImageRef | None = None
    text: str | None = None
    before: str | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """One score, as the journal and the ledger have it."""

    scorer: str
    """The scorer's id."""
    request: str
    """Id of the request that it answers: finds it without decoding the image."""
    pixels: str
    """``pixels_id`` of what the scorer saw: finds it where other files hold the same pixels."""
    image_key: str
    sha256: str
    """Of the image's encoded bytes."""
    score: float | None
    """With DECIMALS places; None if the scorer has none for this image, or gives a hash."""
    hash: int | None = None
    """Perceptual hash, an unsigned integer of 64 bits."""
    vector: bytes | None = None
    """Unit vector of the image: float16, little endian."""
    text: str | None = None
    """Text of a chat scorer's field of words."""

    def __post_init__(self) -> None:
        if self.score is not None:
            object.__setattr__(self, "score", rounded(self.score))


@dataclass(frozen=True, slots=True)
class ScoreReport:
    """Result of scoring one shard, small enough to be a task's result."""

    scored: int = 0
    """Scores that were computed."""
    reused: int = 0
    """Scores that were known by their pixels, or from the journal."""
    failed: Mapping[str, Failure] = field(default_factory=dict)
    """Id of a request -> why it has no score."""
    loads: tuple[Mapping[str, Any], ...] = ()
    """Each model that was loaded for it: model, device, seconds, GiB and worker."""
    stats: WorkerStats = field(default_factory=WorkerStats)
    worker: str | None = None
    """Name of the worker."""
    scores: tuple[Score, ...] = ()
    """Those of all requests that have one: computed, copied by their pixels, or found in the journal."""
    unanswered: Mapping[str, Failure] = field(default_factory=dict)
    """Id of a request -> why a language model has given no answer; a later build asks again."""
    not_asked: frozenset[str] = frozenset()
    """Those of them about which it was not even asked."""
    truncated: Mapping[str, int] = field(default_factory=dict)
    """Name of a scorer -> scores whose text is longer than its text encoder reads, the rest of which was ignored."""


def request_id(
    scorer: ScorerFacts,
    sha256: str,
    source_sha256: str | None = None,
    mask_sha256: str | None = None,
    text: str | None = None,
    before: str | None = None,
) -> str:
    """32 hexadecimal digits over the scorer and what it reads, images by the sha256 of their encoded bytes.

    Values that the scorer does not read do not count.
    """
    return _id("request", scorer, sha256, source_sha256, mask_sha256, text, before)


def pixels_id(
    scorer: ScorerFacts,
    pixels: str,
    source_pixels: str | None = None,
    mask_pixels: str | None = None,
    text: str | None = None,
    before: str | None = None,
) -> str:
    """The identity of a score: as ``request_id``, but images by ``hash_pixels`` (data.images.pixels).

    Metadata and encoders may change a file and leave its pixels.
    """
    return _id("pixels", scorer, pixels, source_pixels, mask_pixels, text, before)


def _id(
    by: str,
    scorer: ScorerFacts,
    image: str,
    source: str | None,
    mask: str | None,
    text: str | None,
    before: str | None,
) -> str:
    seen: Mapping[Reads, str | None] = {"text": text, "source": source, "before": before, "mask": mask}
    return digest([by, scorer.id, image, {name: value for name, value in seen.items() if name in scorer.reads}])
