"""Specification of one model, known exactly, and of how a step calls it. Imports no torch: the flow's process makes it.

ModelSpec
├── source       where its files are, and which
├── defaults     size, steps and guidance where neither recipe nor row gives them
├── limits       what can be asked of it
├── call         how its pipeline is called
└── adapters     LoRAs, ControlNet, IP-Adapter
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from imagemill.data.config.memory import Memory
from imagemill.data.config.schedulers import SchedulerName
from imagemill.data.config.speed import Speed
from imagemill.data.identity import digest
from imagemill.data.messages import shown
from imagemill.data.records import ModelFacts
from imagemill.models.catalog.adapters.controlnet import ControlnetFiles
from imagemill.models.catalog.adapters.ip_adapter import IpAdapterFiles
from imagemill.models.catalog.adapters.lora import LoraFile
from imagemill.models.catalog.api_spec import ApiSpec
from imagemill.models.catalog.external_parts import ExternalPart
from imagemill.models.catalog.limits import Defaults, Limits
from imagemill.models.catalog.source import ModelSource

Step = str
"""Name of a recipe's step (data.config.chain): ``generate``, ``edit``, ``edit 2``."""

Task = Literal["text-to-image", "instruction", "image-to-image", "inpaint"]
"""Tasks that a pipeline is called for: the first by `generate`, the others by `edit`."""


Quantized = Literal["named", "large"]
"""Parts that quantization takes. ``large``: the denoiser, and every other part of over a gigabyte but the autoencoder.
``named``: the denoiser and the second and third text encoders, in families whose other parts are small."""


@dataclass(frozen=True, slots=True)
class CallSettings:
    """Call of a step's pipeline, the same for all rows."""

    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of every call, such as strength."""
    guidance_argument: str = "guidance_scale"
    """The pipeline's name for the recipe's guidance: a distilled model's, or true classifier-free guidance."""
    empty_negative: str | None = None
    """Negative prompt where none is given, for pipelines that would otherwise leave guidance out."""
    max_sequence_length: int | None = None
    version: int = 1
    """Of the family's calls (models.catalog.entries.Family)."""
    texts_vary: bool = False
    """True if the length of what the pipeline makes of a text depends on the text."""
    stitches: bool = False
    """True if a row's references stand beside its image, in one."""
    keep_unmasked: bool = False
    """True if an inpainted image has its source's pixels where the mask is black."""
    to_bucket: bool = False
    """True if an edit has the model's size of the nearest shape, rather than its source's size."""


@dataclass(frozen=True, slots=True)
class Adapters:
    """Further weights that a step's model is loaded with."""

    loras: tuple[LoraFile, ...] = ()
    """In the order of the recipe."""
    controlnet: ControlnetFiles | None = None
    ip_adapter: IpAdapterFiles | None = None


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model that is known exactly, and how a step calls it. Travels to the workers."""

    name: str
    source: ModelSource
    """A local folder, or a repository."""
    pipeline: str
    """Name of the diffusers class that the step calls."""
    dtype: str
    defaults: Defaults
    limits: Limits
    call: CallSettings = field(default_factory=CallSettings)
    adapters: Adapters = field(default_factory=Adapters)
    external_parts: tuple[ExternalPart, ...] = ()
    """Parts that its own repository lacks."""
    scheduler: SchedulerName | None = None
    """None: the pipeline's own."""
    speed: Speed = field(default_factory=Speed)
    memory: Memory = field(default_factory=Memory)
    quantized: Quantized = "named"
    """Parts that the memory settings quantize."""
    cache_dir: str | None = None
    """The Hub's cache; None: the default."""
    licence: str = "unknown"
    is_catalogued: bool = False
    """True if its settings are those of an entry of the catalog, and not its family's alone."""
    is_untried: bool = False
    """True if its family is a user's, or known by its signature alone: its first rows have to prove it."""

    @property
    def identity(self) -> dict[str, Any]:
        """All of the model that decides pixels. The path of local files does not."""
        adapters = self.adapters
        optional = {
            "max_sequence_length": self.call.max_sequence_length,
            "version": self.call.version if self.call.version > 1 else None,
            "call": dict(self.call.arguments),
            "speed": self.speed.identity(),
            "memory": self.memory.identity(),
            "quantized": self.quantized if self.memory.quantization != "none" and self.quantized != "named" else None,
            "size": [list(size) for size in self.limits.buckets] if self.call.to_bucket else [],
            "lora": [lora.identity for lora in adapters.loras],
            "parts": {part.name: part.identity for part in self.external_parts},
            "controlnet": adapters.controlnet and adapters.controlnet.identity,
            "ip_adapter": adapters.ip_adapter and adapters.ip_adapter.identity,
            "scheduler": self.scheduler,
            "keep_unmasked": self.call.keep_unmasked,
            "stitches": self.call.stitches,
        }
        return {
            **self.source.identity,
            "pipeline": self.pipeline,
            "dtype": self.dtype,
            **{name: value for name, value in optional.items() if value},
        }

    @property
    def weights_key(self) -> str:
        """Equal for two specs whose pipelines are made of the same loaded parts."""
        adapters = self.adapters
        settings = [self.speed.model_dump(), self.memory.model_dump(), *(lora.identity for lora in adapters.loras)]
        settings += [{part.name: part.identity} for part in self.external_parts]
        steering = {"controlnet": adapters.controlnet, "ip_adapter": adapters.ip_adapter}
        settings += [{kind: found.weights} for kind, found in steering.items() if found]
        return digest([self.source.key, self.dtype, *settings])

    @property
    def sources(self) -> tuple[ModelSource, ...]:
        """Of the model itself, and of all that it is loaded with."""
        steering = (self.adapters.controlnet, self.adapters.ip_adapter)
        files = (*self.adapters.loras, *self.external_parts, *filter(None, steering))
        return (self.source, *(file.source for file in files))

    def facts(self) -> ModelFacts:
        """Facts for planning."""
        defaults, limits = self.defaults, self.limits
        return ModelFacts(
            name=self.name,
            revision=self.source.version,
            identity=self.identity,
            width=defaults.width,
            height=defaults.height,
            steps=defaults.steps,
            guidance_scale=defaults.guidance_scale,
            size_multiple=limits.size_multiple,
            negative_prompt=limits.negative_prompt,
            uses_guidance=limits.uses_guidance,
            min_steps=limits.min_steps,
            buckets=limits.buckets,
            only_buckets=limits.only_buckets,
        )


Model = ModelSpec | ApiSpec


def is_untried(model: Model) -> bool:
    """True if imagemill's tests do not have a model's family."""
    return isinstance(model, ModelSpec) and model.is_untried


def untried_families(models: Iterable[Model]) -> list[str]:
    """Warnings of models whose families imagemill's tests do not have, a sentence for each."""
    return [
        f"{shown(model.name)} is a {model.pipeline}, untested by imagemill: its first rows have to prove that an image "
        "depends on its row alone."
        for model in loaded_here(models)
        if model.is_untried
    ]


def loaded_here(models: Iterable[Model]) -> list[ModelSpec]:
    """Those that need a worker."""
    return [model for model in models if isinstance(model, ModelSpec)]
