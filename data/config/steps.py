"""A recipe's steps: how images are generated from prompts, how they are edited, and chains of both."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from imagemill.data.config.adapters import IpAdapter, Loras, MaybeControlnet
from imagemill.data.config.api import Api
from imagemill.data.config.fields import (
    BatchSize,
    Guidance,
    MaybeText,
    Safety,
    Section,
    Seed,
    Size,
    Steps,
    Strength,
    Text,
)
from imagemill.data.config.memory import Memory
from imagemill.data.config.schedulers import Scheduler
from imagemill.data.config.speed import Speed
from imagemill.data.images.size_buckets import Shape


class ModelChoice(Section):
    """Which model a step uses."""

    model: Text = Field(
        "bundled",
        title="Model",
        description="A name from the catalog, a local folder with model_index.json, or an 'org/name' repository.",
    )
    backend: Literal["diffusers", "openai"] = Field(
        "diffusers",
        title="Backend",
        description="Generate with diffusers on workers, or ask an OpenAI-compatible images API (see docs/images-api.md).",
    )
    api: Api = Field(Api(), title="API", description="With backend openai: where the API is, and how it is asked.")
    revision: MaybeText = Field(
        None, title="Revision", description="Commit, tag or branch of a repository; empty: the catalog's."
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", title="Dtype", description="What the model computes in; auto: the catalog's, a folder's as it is saved."
    )
    scheduler: Scheduler = Field(
        None,
        title="Scheduler",
        description="How the noise is taken away, step by step (the sampler); empty: the model's own.",
    )
    lora: Loras = Field(
        [], title="LoRA", description="What the model is generated with: one source, or a list, each with its weight."
    )
    speed: Speed = Field(
        Speed(), title="Speed", description="How the model generates faster; what changes pixels is off by default."
    )
    memory: Memory = Field(
        Memory(), title="Memory", description="How the model is made to fit into less memory than it asks for."
    )
    safety: Safety = Field(
        "off",
        title="Safety",
        description="Ask the model's own safety checker, if it ships one: note what it finds in the column unsafe, or "
        "set such rows aside.",
    )


class Generate(ModelChoice):
    """How images are generated from prompts."""

    width: Size | None = Field(
        None, title="Width", description="Image width in pixels, a multiple of 8; empty: the model's own."
    )
    height: Size | None = Field(
        None, title="Height", description="Image height in pixels, a multiple of 8; empty: the model's own."
    )
    aspect_ratio: Shape = Field(
        None,
        title="Aspect ratio",
        description="In place of width and height: a shape such as 3:2, generated at the nearest of the model's sizes.",
    )
    steps: Steps | None = Field(
        None, title="Steps", description="Denoising steps (num_inference_steps); empty: the model's own."
    )
    guidance_scale: Guidance | None = Field(
        None, title="Guidance", description="How strongly the prompt is followed; empty: the model's own."
    )
    negative_prompt: MaybeText = Field(
        None, title="Negative prompt", description="What the images should not show; a row's own goes first."
    )
    controlnet: MaybeControlnet = Field(
        None,
        title="ControlNet",
        description="What generates along an image of each row's own, such as an edge map (see docs/steering.md).",
    )
    ip_adapter: IpAdapter | None = Field(
        None,
        title="IP-Adapter",
        description="What lets an image of each row's own be a prompt beside the words (see docs/steering.md).",
    )
    images_per_prompt: int = Field(
        1, ge=1, le=10_000, title="Images per prompt", description="How many images each prompt gets."
    )
    seed: Seed = Field(0, title="Seed", description="Decides every image's own seed. -1: draw one once and record it.")
    batch_size: BatchSize = Field(
        8,
        title="Batch size",
        description="Images generated at once; auto: found by trial. Changing it regenerates nothing.",
    )

    @model_validator(mode="after")
    def _has_one_size(self) -> Generate:
        if self.aspect_ratio is not None and (self.width is not None or self.height is not None):
            raise ValueError("aspect_ratio is given and width or height too: give either the shape or the size")
        return self


class Edit(ModelChoice):
    """How images are changed by an instruction."""

    task: Literal["instruction", "image-to-image", "inpaint"] = Field(
        "instruction",
        title="Task",
        description="Follow an instruction; draw a prompt over the image; or draw it where a mask is white.",
    )
    instructions: list[Text] = Field(
        [],
        title="Instructions",
        description="Each is applied to every image; empty: each row's own edit_prompt or last user message.",
    )
    steps: Steps | None = Field(
        None, title="Steps", description="Denoising steps (num_inference_steps); empty: the model's own."
    )
    guidance_scale: Guidance | None = Field(
        None, title="Guidance", description="How strongly the instruction is followed; empty: the model's own."
    )
    image_guidance_scale: Guidance | None = Field(
        None, title="Image guidance", description="InstructPix2Pix only: how closely the source image is kept."
    )
    strength: Strength | None = Field(
        None,
        title="Strength",
        description="Over 0 to 1: how much is regenerated by image-to-image or inpaint; empty: the model's own.",
    )
    keep_unmasked: bool = Field(
        True,
        title="Keep unmasked",
        description="Inpaint only: put the source's own pixels back where the mask is black, which coding changes.",
    )
    seed: Seed = Field(0, title="Seed", description="Decides every edit's own seed. -1: draw one once and record it.")
    batch_size: BatchSize = Field(
        8,
        title="Batch size",
        description="Images generated at once; auto: found by trial. Changing it regenerates nothing.",
    )

    size: Literal["source", "bucket"] = Field(
        "source",
        title="Size",
        description="As large as the image that is edited; or of the model's sizes that with the nearest shape.",
    )
    references: bool = Field(
        False,
        title="References",
        description="A row's further images go to the model too, and into input_images; not every model can.",
    )
    references_layout: Literal["separate", "stitch"] = Field(
        "separate",
        title="References layout",
        description="How references are given: each by itself, or side by side with the image (FLUX.1 Kontext).",
    )
    multi_turn: bool = Field(
        False,
        title="Multi-turn",
        description="Apply the instructions one after the other, each to the result of the one before: a row a turn.",
    )

    @model_validator(mode="after")
    def _instructions_differ(self) -> Edit:
        if not self.multi_turn and len(set(self.instructions)) < len(self.instructions):
            twice = next(i for i in self.instructions if self.instructions.count(i) > 1)
            raise ValueError(f"instructions lists {twice!r} twice: give each instruction once")
        return self

    @model_validator(mode="after")
    def _lays_out_references(self) -> Edit:
        if self.references_layout != "separate" and not self.references:
            raise ValueError(
                f"references_layout is {self.references_layout!r}, but references is false: set it to true"
            )
        return self


class ChainStep(Section):
    """One step of a chain: a `generate` section or an `edit` section."""

    generate: Generate | None = Field(None, title="Generate", description="Generate from prompts; the first step only.")
    edit: Edit | None = Field(None, title="Edit", description="Edit the images of the step before.")

    @model_validator(mode="after")
    def _is_one(self) -> ChainStep:
        if (self.generate is None) == (self.edit is None):
            raise ValueError("a step is either {generate: {...}} or {edit: {...}}")
        return self
