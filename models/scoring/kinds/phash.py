"""Kind ``phash``: the perceptual hash of each image, by which near-duplicates are found."""

from __future__ import annotations

from collections.abc import Sequence

from imagemill.data.images.phash import phash
from imagemill.models.catalog.scorers.spec import ScorerSpec
from imagemill.models.scoring.embeddings import Embeddings
from imagemill.models.scoring.kind import Kind, Look, Verdict


def score(spec: ScorerSpec, looks: Sequence[Look], embeddings: Embeddings | None) -> list[Verdict]:
    """A hash of 64 bits for each image, and no score."""
    return [Verdict(hash=phash(look.image.image)) for look in looks]


KIND = Kind(name="phash", score=score)
