"""One model, known exactly, and how a step calls it. Imports no torch: the flow's process makes these."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from imagemill.data.config.memory import Memory
from imagemill.data.config.schedulers import SchedulerName
from imagemill.data.config.speed import Speed
from imagemill.data.identity import digest
from imagemill.data.records import ModelFacts
from imagemill.models.catalog.api_spec import ApiSpec
from imagemill.models.catalog.controlnet import ControlnetFiles
from imagemill.models.catalog.external_parts import ExternalPart
from imagemill.models.catalog.ip_adapter import IpAdapterFiles
from imagemill.models.catalog.lora import LoraFile

Step = str
"""Name of a recipe's step (data.config.chain): ``generate``, ``edit``, ``edit 2``."""

Task = Literal["text-to-image", "instruction", "image-to-image", "inpaint"]
"""What a pipeline is called for: the first by `generate`, the others by `edit`."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model that is known exactly, and how a step calls it. Travels to the workers."""

    name: str
    source: str
    """A local folder, or an 'org/name' repository."""
    revision: str | None
    """The commit of a repository; None for a folder."""
    files: str | None
    """The hash of a folder's files; None for a repository."""
    pipeline: str
    """Name of the diffusers class that the step calls."""
    dtype: str
    width: int
    height: int
    steps: int
    guidance_scale: float | None
    size_multiple: int
    negative_prompt: bool
    """Whether the pipeline makes use of one."""
    uses_guidance: bool
    """Whether it makes use of a guidance scale."""
    max_sequence_length: int | None
    licence: str
    cache_dir: str | None
    speed: Speed = field(default_factory=Speed)
    memory: Memory = field(default_factory=Memory)
    guidance_argument: str = "guidance_scale"
    """What the pipeline calls the recipe's guidance: a distilled model's own, or true classifier-free guidance."""
    empty_negative: str | None = None
    """The negative prompt where none is given, for pipelines that else leave guidance out."""
    call: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of every call, such as strength."""
    max_batch: int | None = None
    """The most rows that the pipeline generates in one call; None: any number."""
    outputs: str = "unknown"
    """What the licence says of the images."""
    min_steps: int = 1
    """The fewest denoising steps that a step may ask for (models.catalog.capabilities.fewest_steps)."""
    loras: tuple[LoraFile, ...] = ()
    """What it is generated with, in the order of the recipe."""
    controlnet: ControlnetFiles | None = None
    """What generates along an image of each row's own."""
    ip_adapter: IpAdapterFiles | None = None
    """What lets an image of each row's own be a prompt beside the words."""
    external_parts: tuple[ExternalPart, ...] = ()
    """Parts that its own repository lacks."""
    scheduler: SchedulerName | None = None
    """None: the pipeline's own."""
    stitches: bool = False
    """Whether a row's references stand beside its image, in one."""
    keep_unmasked: bool = False
    """Whether an inpainting has its source's pixels where the mask is black."""

    buckets: tuple[tuple[int, int], ...] = ()
    """The widths and heights it generates best, in pixels, its own first."""
    only_buckets: bool = False
    """Whether it generates no other sizes."""
    to_bucket: bool = False
    """Whether an edit is generated at the nearest of these in shape, rather than as large as its source."""

    @property
    def identity(self) -> dict[str, Any]:
        """All of the model that decides pixels. Where it lies does not."""
        weights = {"files": self.files} if self.files else {"repository": self.source, "revision": self.revision}
        more = {
            "max_sequence_length": self.max_sequence_length,
            "call": dict(self.call),
            "speed": self.speed.identity(),
            "memory": self.memory.identity(),
            "size": [list(size) for size in self.buckets] if self.to_bucket else [],
            "lora": [lora.identity for lora in self.loras],
            "parts": {part.name: part.identity for part in self.external_parts},
            "controlnet": self.controlnet and self.controlnet.identity,
            "ip_adapter": self.ip_adapter and self.ip_adapter.identity,
            "scheduler": self.scheduler,
            "keep_unmasked": self.keep_unmasked,
            "stitches": self.stitches,
        }
        return {
            **weights,
            "pipeline": self.pipeline,
            "dtype": self.dtype,
            **{name: value for name, value in more.items() if value},
        }

    @property
    def weights_key(self) -> str:
        """Equal for two specs whose pipelines are made of the same loaded parts."""
        settings = [self.speed.model_dump(), self.memory.model_dump(), *(lora.identity for lora in self.loras)]
        settings += [{part.name: part.identity} for part in self.external_parts]
        settings += [{kind: found.weights} for kind, found in self._beside if found]
        return digest([self.files or [self.source, self.revision], self.dtype, *settings])

    @property
    def _beside(self) -> tuple[tuple[str, ControlnetFiles | IpAdapterFiles | None], ...]:
        return ("controlnet", self.controlnet), ("ip_adapter", self.ip_adapter)

    def facts(self) -> ModelFacts:
        """What planning needs to know."""
        return ModelFacts(
            name=self.name,
            revision=self.revision or self.files,
            identity=self.identity,
            width=self.width,
            height=self.height,
            steps=self.steps,
            guidance_scale=self.guidance_scale,
            size_multiple=self.size_multiple,
            negative_prompt=self.negative_prompt,
            uses_guidance=self.uses_guidance,
            min_steps=self.min_steps,
            buckets=self.buckets,
            only_buckets=self.only_buckets,
        )


Model = ModelSpec | ApiSpec


def loaded_here(models: Iterable[Model]) -> list[ModelSpec]:
    """Those that need a worker."""
    return [model for model in models if isinstance(model, ModelSpec)]
