"""Specification of one scorer, known exactly: its files, and how its score is made. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from imagemill.data.identity import digest
from imagemill.data.scores.records import Reads, ScorerFacts
from imagemill.models.catalog.scorers.heads import HeadFile
from imagemill.models.catalog.source import ModelSource

BACKEND = "pil"
"""Backend of the image processors. torchvision's resizes otherwise, and transformers takes it where it is installed."""

VERSIONS: dict[str, int] = {}
"""Kind, or measure of the kind ``pixels`` -> version of its code, from 1. Raised when equal pixels get other scores,
so that they are scored again."""


@dataclass(frozen=True, slots=True)
class ScorerSpec:
    """A scorer that is known exactly. Travels to the workers."""

    name: str
    """Its name in the recipe."""
    kind: str
    """Name of a file in models/scoring/kinds."""
    reads: frozenset[Reads] = frozenset()
    model: str | None = None
    """Name of its model in messages: of the catalog, a folder or a repository. None for a scorer without one."""
    source: ModelSource | None = None
    """The model's files."""
    head: HeadFile | None = None
    dtype: str = "float32"
    label: str | None = None
    """Of the kind ``classify``: the label whose probability is the score."""
    measure: str | None = None
    """Of the kind ``pixels``: name of a file in models/scoring/measures."""
    against: str | None = None
    """Of the kind ``similarity``: what the image is compared with (data.config.judging.scorers)."""
    text: str | None = None
    """Column of the text that it reads; None for the step's default."""
    batch_size: int | Literal["auto"] = "auto"
    """Images of one call."""
    licence: str = ""
    cache_dir: str | None = None
    """The Hub's cache; None: the default."""
    keeps_vector: bool = False
    """True if the image's embedding is stored with the score."""

    @property
    def identity(self) -> dict[str, Any]:
        """All of the scorer that decides its scores. Its name and the path of local files do not."""
        version = VERSIONS.get(self.measure or self.kind, 1)
        optional = {
            "version": version if version > 1 else None,
            "head": self.head and self.head.identity,
            "label": self.label,
            "measure": self.measure,
            "against": self.against,
        }
        model = {**self.source.identity, "processor": BACKEND, "dtype": self.dtype} if self.source else {}
        given = {name: value for name, value in optional.items() if value is not None}
        return {"kind": self.kind, **model, **given}

    @property
    def weights_key(self) -> str:
        """Equal for two scorers that use one loaded model."""
        assert self.source is not None, "only scorers with a model are loaded"
        return digest([self.source.key, self.dtype, "classifier" if self.kind == "classify" else "encoder"])

    @property
    def sources(self) -> tuple[ModelSource, ...]:
        """Of the model, and of its head."""
        return tuple(source for source in (self.source, self.head and self.head.source) if source)

    def facts(self) -> ScorerFacts:
        """Facts for planning and the ledger."""
        return ScorerFacts(
            name=self.name,
            kind=self.kind,
            identity=self.identity,
            reads=self.reads,
            model=self.model,
            revision=self.source.version if self.source else None,
            licence=self.licence,
            text=self.text,
            has_vector=self.keeps_vector,
        )


PHASH = ScorerSpec("phash", "phash")
"""Internal scorer that gives each image the perceptual hash by which near-duplicates are found."""
