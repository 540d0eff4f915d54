"""Job of a worker: one step of one shard. Imports no torch: the flow's process makes these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from imagemill.data.images.codec import Encoding
from imagemill.data.records import Drawing
from imagemill.models.catalog.spec import Model


@dataclass(frozen=True, slots=True)
class Job:
    """One step of one shard: the images to generate, their model, and where they are staged."""

    spec: Model
    drawings: tuple[Drawing, ...]
    encodings: Mapping[str, tuple[Encoding, ...]]
    """Image key -> the encodings in which that image is staged."""
    batch_size: int
    """The most images of one call."""
    checks: frozenset[str]
    """Names of the recipe's checks that are on."""
    staging: str
    """Folder of the staged images, on a file system that the workers share."""
    on_oom: str = "halve_batch"
    """The recipe's on_oom: what to do when the device runs out of memory."""
    batch_timeout: float = 3600.0
    """Seconds after which a batch counts as hung."""
    finds_batch_size: bool = False
    """True if the worker finds the best size up to this by trial (the recipe's `batch_size: auto`)."""
    max_resident: int | None = None
    """The most models that stay on a worker's device at once; None: as many as fit."""
    allow_hosts: tuple[str, ...] = ()
    """The recipe's images.allow_hosts: hosts that an API's answer may name though they are not public."""
    measures: Mapping[str, Any] = field(default_factory=dict)
    """Measure (models.drawing.measure_registry) -> its setting for these images."""
