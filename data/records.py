"""The records that travel between the steps. Each is valid once built; none holds pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Drawing:
    """One image to draw, with all that decides its pixels but the model, which a shard's step has in common."""

    key: str
    """Image key: 32 hexadecimal digits over everything that decides the pixels."""
    prompt: str
    seed: int
    steps: int | None
    """None where the model is behind an API, which then decides."""
    negative_prompt: str | None = None
    guidance_scale: float | None = None
    width: int | None = None
    """In pixels; None for an edit, which is as large as its source."""
    height: int | None = None
    source: str | None = None
    """For an edit: the image key of the staged image it starts from, or None where it starts from a file."""
    source_path: str | None = None
    """For an edit of a given image: the path of that image."""
    source_hash: str | None = None
    """sha256 of that image's bytes."""
    mask_path: str | None = None
    """For an inpainting: the path of its mask."""
    mask_hash: str | None = None
    """sha256 of the mask's bytes."""
    references: tuple[tuple[str, str], ...] = ()
    """Further images that the edit is given, in order: path, and sha256 of its bytes."""
    guides: tuple[tuple[str, str, str], ...] = ()
    """Control images beside the prompt (data.config.guides): role, path, and sha256 of its bytes."""


@dataclass(frozen=True, slots=True)
class RowPlan:
    """One row of the dataset to be: the drawings it needs and the columns that are known before anything is generated."""

    row_key: str
    """32 hexadecimal digits over the row's drawings, columns and encoding: what makes it finished or not."""
    id: str
    variant: int
    steps: tuple[str, ...]
    """Name of the recipe's step (data.config.chain) that generates each of ``drawings``."""
    drawings: tuple[Drawing, ...]
    """In the order in which they are generated, each from the one before."""
    prompt: str | None
    carried: Mapping[str, Any]
    file: str
    line: int
    turn: int | None = None
    """How many edits the row's image has gone through, where the dataset has rows of several turns."""

    @property
    def final(self) -> Drawing:
        """The drawing whose image the row is about."""
        return self.drawings[-1]

    def to_json(self) -> dict[str, Any]:
        """As plain values, so that it can be stored and read back by ``from_json``."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        plain["drawings"] = [{name: getattr(one, name) for name in one.__slots__} for one in self.drawings]
        return plain

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> RowPlan:
        """The inverse of ``to_json``."""
        drawings = tuple(
            Drawing(**{**one, **{name: tuple(map(tuple, one[name])) for name in ("references", "guides")}})
            for one in fields["drawings"]
        )
        return cls(**{**fields, "steps": tuple(fields["steps"]), "drawings": drawings})


@dataclass(frozen=True, slots=True)
class SetAside:
    """A row, or one image of it, that could not be built, and why."""

    stage: str
    """``load``, ``write``, or the name of the step that could not draw."""
    id: str | None
    file: str
    line: int
    reason: str
    attempts: int = 1
    row_key: str | None = None


@dataclass(frozen=True, slots=True)
class Staged:
    """How a staged image was generated; written beside it."""

    key: str
    sha256: str
    """Of the encoded bytes."""
    width: int
    height: int
    batch_size: int
    device: str
    measures: Mapping[str, Any] = field(default_factory=dict)
    """Measure (data.dataset.measures) -> its value; without those that it was not measured by."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an image could not be generated."""

    reason: str
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class StepTiming:
    """What a worker's time and memory went into for one step of one shard; times in seconds."""

    loading: float = 0.0
    drawing: float = 0.0
    waiting: float = 0.0
    """Between the end of one batch and the start of the next, from shard to shard too; loading apart."""
    moves: int = 0
    """Models brought back from host memory."""
    peak_gib: float = 0.0
    """The most memory that was taken: of the GPU, or, without one, of the process."""
    utilisation: float | None = None
    """Mean of the GPU's utilisation in percent, sampled once a second; None where that is not known."""


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one step of one shard did, small enough to be a task's result."""

    generated: int = 0
    reused: int = 0
    loads: tuple[Mapping[str, Any], ...] = ()
    """Each model that was loaded for it: model, device, seconds, GiB and worker."""
    seconds: float = 0.0
    """Time in the worker until the device was free again, loading included."""
    failed: Mapping[str, Failure] = field(default_factory=dict)
    """Image key -> why that image could not be generated."""
    device: str | None = None
    """Name of the device; None where nothing was generated."""
    worker: str | None = None
    """Name of the worker."""
    spent: StepTiming = StepTiming()
    truncated: int = 0
    """Generated prompts that are longer than the model's text encoders take."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What planning needs to know of a model; nothing here loads it."""

    name: str
    revision: str | None
    """Commit of its repository, or the hash of its files."""
    identity: Mapping[str, Any]
    """All that makes it draw what it generates; part of every image key."""
    width: int | None
    height: int | None
    steps: int | None
    guidance_scale: float | None
    size_multiple: int
    """Widths and heights are multiples of this, in pixels."""
    negative_prompt: bool
    """Whether it makes use of one."""
    uses_guidance: bool = True
    """Whether it makes use of a guidance scale."""
    min_steps: int = 1
    """The fewest steps that it can be asked for."""
    buckets: tuple[tuple[int, int], ...] = ()
    """The widths and heights it generates best, in pixels, its own first; none where it has no size of its own."""
    only_buckets: bool = False
    """Whether it generates no other sizes."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What loading the prompts gave."""

    rows: int
    set_aside: int
    carried: Mapping[str, str]
    """Carried column -> kind (data.dataset.schema.Kind)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a build has to do; the items themselves lie in the worklist."""

    rows: int
    """Rows of the finished dataset, were none set aside."""
    reused: int
    """Rows that are in the dataset already."""
    removed: int
    """Rows in the dataset that the recipe no longer asks for."""
    set_aside: int
    """Rows that an earlier build set aside."""
    shards: int
    drawings: Mapping[str, int]
    """Model -> images to draw, staged and restorable ones included."""
    restorable: int
    """Images among these that lie in the dataset already, in other rows."""
