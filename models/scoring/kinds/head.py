"""Kind ``head``: a small network on a model's image embedding, such as an aesthetic predictor."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from imagemill.models.catalog.scorers.spec import ScorerSpec
from imagemill.models.scoring.embeddings import Embeddings
from imagemill.models.scoring.head_network import load_head
from imagemill.models.scoring.kind import Kind, Look, Verdict
from imagemill.models.scoring.vectors import packed


def score(spec: ScorerSpec, looks: Sequence[Look], embeddings: Embeddings | None) -> list[Verdict]:
    """The head's output for the unit vector of each image. Raises RecipeError where the head does not fit the model."""
    assert embeddings is not None, "this kind has a model"
    assert spec.head is not None, "this kind has a head"
    images = embeddings.images((look.image.hash, look.image.image) for look in looks)
    vectors = [images[look.image.hash] for look in looks]
    head = load_head(spec.name, spec.head, spec.cache_dir, len(vectors[0]))
    with torch.inference_mode():
        # One at a time, on the CPU: a few thousand products, whose bits do not depend on the batch.
        scores = [float(head(vector)) for vector in vectors]
    return [
        Verdict(value, vector=packed(vector) if spec.keeps_vector else None)
        for value, vector in zip(scores, vectors, strict=True)
    ]


KIND = Kind(name="head", score=score, has_model=True)
