"""Kind ``pixels``: a measure of the pixels, without a model. Each is a file of models/scoring/measures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

import numpy as np
from PIL import Image

from imagemill.data.errors import BadRow
from imagemill.models.catalog.scorers.spec import ScorerSpec
from imagemill.models.scoring import measures
from imagemill.models.scoring.embeddings import Embeddings
from imagemill.models.scoring.kind import Kind, Look, Verdict
from imagemill.models.scoring.views import Views

Measure = Callable[[Views], float]
"""Images of one look -> its value: the function ``measure`` of a file."""


@cache
def measure_of(name: str) -> Measure:
    """The measure of this name."""
    return import_module(f"{measures.__name__}.{name}").measure


def names() -> list[str]:
    """All measures."""
    return sorted(module.name for module in iter_modules(measures.__path__))


def score(spec: ScorerSpec, looks: Sequence[Look], embeddings: Embeddings | None) -> list[Verdict]:
    """The spec's measure of each look."""
    assert spec.measure is not None, "this kind has a measure"
    measure = measure_of(spec.measure)
    return [Verdict(measure(_views(spec, look))) for look in looks]


def _views(spec: ScorerSpec, look: Look) -> Views:
    missing = [name for name in ("source", "mask") if name in spec.reads and getattr(look, name) is None]
    if missing:
        raise BadRow(f"the image has no {missing[0]} to be compared with (measure: {spec.measure})")
    size = look.image.image.size
    source = _fitted(look.source.image, size, Image.Resampling.BICUBIC) if look.source else None
    mask = _fitted(look.mask.image, size, Image.Resampling.NEAREST) if look.mask else None
    return Views(np.asarray(look.image.image), source, mask)


def _fitted(image: Image.Image, size: tuple[int, int], resample: Image.Resampling) -> np.ndarray:
    """At the image's size: an edit may have another than its source."""
    return np.asarray(image if image.size == size else image.resize(size, resample))


KIND = Kind(name="pixels", score=score)
