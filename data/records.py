"""Records that travel between the steps of a build. Each is valid once built; none holds pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from imagemill.data.messages import MAX_REASON, escaped, message

MAX_ID = 200
"""Characters of the id of a row that is set aside."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """One image to generate: everything that decides its pixels, except the model, which its job names."""

    key: str
    """Image key: 32 hexadecimal digits over everything that decides the pixels."""
    prompt: str
    seed: int
    steps: int | None
    """None for a model behind an API, which decides by itself."""
    negative_prompt: str | None = None
    guidance_scale: float | None = None
    width: int | None = None
    """In pixels; None for an edit that is as large as its source."""
    height: int | None = None
    source: str | None = None
    """For an edit of a generated image: the image key of its source."""
    source_path: str | None = None
    """For an edit of an input image: its path."""
    source_hash: str | None = None
    """sha256 of the input image's bytes."""
    mask_path: str | None = None
    """For inpainting: the path of the mask."""
    mask_hash: str | None = None
    """sha256 of the mask's bytes."""
    references: tuple[tuple[str, str], ...] = ()
    """Reference images of an edit, in order: path, and sha256 of its bytes."""
    guides: tuple[tuple[str, str, str], ...] = ()
    """Control images beside the prompt (data.config.guides): role, path, and sha256 of its bytes."""
    reading: int = 1
    """Version of the conversion of the images that it is given (data.images.modes)."""
    truncated: bool = False
    """True if a given image whose file ends early is read as far as it goes. Others are the same pixels either way."""
    of_given: bool = False
    """True if it is an edit of an image that the row gives, or of such an edit. For its metadata; no pixel depends."""


@dataclass(frozen=True, slots=True)
class RowPlan:
    """One planned row: the drawings that it needs, and the columns that are known before anything is generated."""

    row_key: str
    """32 hexadecimal digits over the row's drawings, columns and encoding: a dataset that has it has the row."""
    id: str
    variant: int
    steps: tuple[str, ...]
    """The recipe's step (data.config.chain) that generates each of ``drawings``."""
    drawings: tuple[Drawing, ...]
    """In the order of their generation, each the source of the next."""
    prompt: str | None
    carried: Mapping[str, Any]
    file: str
    line: int
    turn: int | None = None
    """Number of edits before the row's image, in a dataset with rows of several turns."""

    @property
    def final(self) -> Drawing:
        """The drawing of the row's main image."""
        return self.drawings[-1]

    def to_json(self) -> dict[str, Any]:
        """Plain values that ``from_json`` reads back."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        plain["drawings"] = [{name: getattr(drawing, name) for name in drawing.__slots__} for drawing in self.drawings]
        return plain

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> RowPlan:
        """The inverse of ``to_json``."""
        drawings = tuple(
            Drawing(**{**drawing, **{name: tuple(map(tuple, drawing[name])) for name in ("references", "guides")}})
            for drawing in fields["drawings"]
        )
        return cls(**{**fields, "steps": tuple(fields["steps"]), "drawings": drawings})


@dataclass(frozen=True, slots=True)
class SetAside:
    """A row that could not be built, or whose image could not, and the reason."""

    stage: str
    """``load``, ``write``, or the name of the step that could not generate."""
    id: str | None
    file: str
    line: int
    reason: str
    attempts: int = 1
    row_key: str | None = None
    candidate: int | None = None
    """Number of the candidate; None where the whole row is set aside."""
    counts: bool = True
    """True if the row ends with fewer images for it, so that it counts against the recipe's max_set_aside."""

    def counted(self, counts: bool) -> SetAside:
        """The same, counted or not."""
        return self if self.counts == counts else replace(self, counts=counts)

    def __post_init__(self) -> None:
        # It is written and displayed: a row's id and its values may hold anything, in any length.
        object.__setattr__(self, "reason", message(self.reason, MAX_REASON))
        if self.id is not None:
            object.__setattr__(self, "id", escaped(self.id[:MAX_ID]))


@dataclass(frozen=True, slots=True)
class Staged:
    """Record of a staged image, written beside it."""

    key: str
    sha256: str
    """Of the encoded bytes."""
    width: int
    height: int
    batch_size: int
    device: str
    measures: Mapping[str, Any] = field(default_factory=dict)
    """Measure (data.dataset.measure_columns) -> the image's value; missing where it was not measured."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason why an image could not be generated."""

    reason: str
    attempts: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", message(self.reason, MAX_REASON))


@dataclass(frozen=True, slots=True)
class WorkerStats:
    """Time, memory and output of a worker: for one step of one shard, or the sum over several. Times in seconds."""

    device: str | None = None
    """Name of the device; None if nothing was generated."""
    generated: int = 0
    seconds: float = 0.0
    """From the start of the job until the device was free again, loading included."""
    loading: float = 0.0
    drawing: float = 0.0
    """Time in the model's calls."""
    waiting: float = 0.0
    """Between the end of one batch and the start of the next, across shards too; loading not included."""
    moves: int = 0
    """Models moved back from host memory."""
    peak_gib: float = 0.0
    """Peak memory: of the GPU, or, without one, of the process."""
    utilisation: float = 0.0
    """Sum of the samples of the GPU's utilisation in percent, one a second, ..."""
    samples: int = 0
    """... and their number."""

    def __add__(self, other: WorkerStats) -> WorkerStats:
        """Both together; ``other`` is the later one."""
        sums = {
            name: getattr(self, name) + getattr(other, name)
            for name in ("generated", "seconds", "loading", "drawing", "waiting", "moves", "utilisation", "samples")
        }
        return WorkerStats(other.device or self.device, peak_gib=max(self.peak_gib, other.peak_gib), **sums)


@dataclass(frozen=True, slots=True)
class StepReport:
    """Result of one step of one shard, small enough to be a task's result."""

    reused: int = 0
    loads: tuple[Mapping[str, Any], ...] = ()
    """Each model that was loaded for it: model, device, seconds, GiB and worker."""
    loras: tuple[Mapping[str, Any], ...] = ()
    """Share of each of its LoRAs that the model uses, if it generated (data.dataset.describe.lora_fits)."""
    failed: Mapping[str, Failure] = field(default_factory=dict)
    """Image key -> why that image could not be generated."""
    worker: str | None = None
    """Name of the worker; None for an API, which has none."""
    stats: WorkerStats = WorkerStats()
    truncated: int = 0
    """Generated images whose prompt is longer than the model's text encoders take."""
    max_tokens: int | None = None
    """Tokens that they take; None if no prompt was longer."""
    library_messages: Mapping[str, int] = field(default_factory=dict)
    """``library category`` -> number of messages that the worker's libraries logged meanwhile."""

    @property
    def generated(self) -> int:
        """Images generated."""
        return self.stats.generated

    @property
    def device(self) -> str | None:
        """Name of the device; None if nothing was generated."""
        return self.stats.device


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Facts of a model that planning needs, known without loading it."""

    name: str
    revision: str | None
    """Commit of its repository, or the hash of its files."""
    identity: Mapping[str, Any]
    """Everything about the model that decides pixels; part of every image key."""
    width: int | None
    height: int | None
    steps: int | None
    guidance_scale: float | None
    size_multiple: int
    """Widths and heights are multiples of this, in pixels."""
    negative_prompt: bool
    """True if it uses one."""
    uses_guidance: bool = True
    """True if it uses a guidance scale."""
    min_steps: int = 1
    """The fewest steps that it supports."""
    max_steps: int | None = None
    """The most steps that it supports; None: any number."""
    buckets: tuple[tuple[int, int], ...] = ()
    """Widths and heights that it generates best, in pixels, its default first; empty for a model without a default."""
    only_buckets: bool = False
    """True if it generates these sizes alone."""
