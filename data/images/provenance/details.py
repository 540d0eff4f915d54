"""Details of a model that an image's metadata names and its drawing does not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LoraDetails:
    """One LoRA that a model was loaded with."""

    name: str
    """Its file's name, without the ending."""
    sha256: str
    """In hexadecimal, over the tensors of its file, as AUTOMATIC1111 computes it (AutoV3): without the header."""
    weight: float


@dataclass(frozen=True, slots=True)
class ModelDetails:
    """Details of a step's model. Equal image keys have equal details, but for the names of files."""

    revision: str | None = None
    """Commit of its repository, or the hash of its files."""
    sampler: str | None = None
    """Name of its scheduler in AUTOMATIC1111's web UI; None where it is unknown, as behind an API."""
    strength: float | None = None
    """Share of the source that an edit regenerates, 0 to 1; None where the model takes no strength."""
    loras: tuple[LoraDetails, ...] = ()
