"""Recipe sections for the steps: generating images from prompts, editing them, and chains of both."""

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
    TrueCfg,
)
from imagemill.data.config.judging.select import Select
from imagemill.data.config.memory import Memory
from imagemill.data.config.parts import Parts
from imagemill.data.config.schedulers import Scheduler
from imagemill.data.config.speed import Speed
from imagemill.data.images.size_buckets import Shape
from imagemill.data.messages import shown


class ModelChoice(Section):
    """A step's model and the settings it is loaded with."""

    model: Text = Field(
        "bundled",
        title="Model",
        description="A catalog name, a folder with model_index.json, an 'org/name' repository, or a .safetensors file.",
    )
    backend: Literal["diffusers", "openai"] = Field(
        "diffusers",
        title="Backend",
        description="Run the model on workers with diffusers, or call an OpenAI-compatible API "
        "(docs/topics/images-api.md).",
    )
    api: Api = Field(Api(), title="API", description="With backend openai: the API's address and request settings.")
    revision: MaybeText = Field(
        None, title="Revision", description="Commit, tag or branch of the repository; empty: the catalog's."
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        title="Dtype",
        description="Data type of the model; auto: the catalog's choice, for a folder the one it is saved in.",
    )
    scheduler: Scheduler = Field(
        None,
        title="Scheduler",
        description="Scheduler (sampler) for the denoising steps; empty: the model's default.",
    )
    lora: Loras = Field(
        [], title="LoRA", description="LoRAs applied to the model: a single source, or a list with a weight for each."
    )
    parts: Parts = Field(
        {},
        title="Parts",
        description="Parts to load in place of the model's own, such as {vae: madebyollin/sdxl-vae-fp16-fix}.",
    )
    true_cfg_scale: TrueCfg | None = Field(
        None,
        title="True CFG",
        description="FLUX.1 and Kontext: guide away from the negative prompt, at twice the time; empty: off.",
    )
    speed: Speed = Field(
        Speed(),
        title="Speed",
        description="Settings that make the model faster; those that change pixels are off by default.",
    )
    memory: Memory = Field(Memory(), title="Memory", description="Settings that reduce the memory the model needs.")
    safety: Safety = Field(
        "off",
        title="Safety",
        description="Run the safety checker that ships with the model, if there is one: flag images in the column "
        "unsafe, or set their rows aside.",
    )


class Generate(ModelChoice):
    """Generation of images from prompts."""

    width: Size | None = Field(
        None, title="Width", description="Image width in pixels, a multiple of 8; empty: the model's default."
    )
    height: Size | None = Field(
        None, title="Height", description="Image height in pixels, a multiple of 8; empty: the model's default."
    )
    aspect_ratio: Shape = Field(
        None,
        title="Aspect ratio",
        description="Instead of width and height: a ratio such as 3:2, at the closest size the model supports.",
    )
    steps: Steps | None = Field(
        None, title="Steps", description="Denoising steps (num_inference_steps); empty: the model's default."
    )
    guidance_scale: Guidance | None = Field(
        None, title="Guidance", description="How closely the prompt is followed; empty: the model's default."
    )
    negative_prompt: MaybeText = Field(
        None,
        title="Negative prompt",
        description="What the images should not show; a row's own negative prompt takes precedence.",
    )
    controlnet: MaybeControlnet = Field(
        None,
        title="ControlNet",
        description="Guide generation with an image from each row, such as an edge map (see docs/topics/steering.md).",
    )
    ip_adapter: IpAdapter | None = Field(
        None,
        title="IP-Adapter",
        description="Use an image from each row as a prompt in addition to the text (see docs/topics/steering.md).",
    )
    images_per_prompt: int = Field(
        1, ge=1, le=10_000, title="Images per prompt", description="Number of images of each prompt in the dataset."
    )
    select: Select | None = Field(
        None,
        title="Select",
        description="Generate more candidates than images_per_prompt, and keep the best; absent: every image is kept.",
    )
    seed: Seed = Field(
        0,
        title="Seed",
        description="Base seed from which each image's seed is derived. -1: pick a random one and record it.",
    )
    batch_size: BatchSize = Field(
        8,
        title="Batch size",
        description="Images per batch; auto: determined by trial. Changing it regenerates nothing.",
    )

    @model_validator(mode="after")
    def _has_one_size(self) -> Generate:
        if self.aspect_ratio is not None and (self.width is not None or self.height is not None):
            raise ValueError("aspect_ratio is given and width or height too: give either the ratio or the size")
        if self.select is not None:
            self.select.check_of(self.images_per_prompt, "images_per_prompt")
        return self

    @property
    def kept(self) -> int:
        """Most images of a prompt that are kept."""
        return self.images_per_prompt


class Edit(ModelChoice):
    """Editing of images by an instruction, with or without a mask."""

    task: Literal["instruction", "image-to-image", "inpaint"] = Field(
        "instruction",
        title="Task",
        description="Follow an instruction; generate from a prompt over the image; or repaint where a mask is white.",
    )
    instructions: list[Text] = Field(
        [],
        title="Instructions",
        description="Each is applied to every image; empty: the row's edit_prompt or last user message is used.",
    )
    steps: Steps | None = Field(
        None, title="Steps", description="Denoising steps (num_inference_steps); empty: the model's default."
    )
    guidance_scale: Guidance | None = Field(
        None, title="Guidance", description="How closely the instruction is followed; empty: the model's default."
    )
    image_guidance_scale: Guidance | None = Field(
        None,
        title="Image guidance",
        description="InstructPix2Pix only: how closely the result stays to the source image.",
    )
    strength: Strength | None = Field(
        None,
        title="Strength",
        description="Image-to-image and inpaint: how much is changed, above 0 up to 1; empty: the model's default.",
    )
    keep_unmasked: bool = Field(
        True,
        title="Keep unmasked",
        description="Inpaint only: restore the source's pixels where the mask is black, since the VAE alters them.",
    )
    seed: Seed = Field(
        0,
        title="Seed",
        description="Base seed from which each edit's seed is derived. -1: pick a random one and record it.",
    )
    batch_size: BatchSize = Field(
        8,
        title="Batch size",
        description="Images per batch; auto: determined by trial. Changing it regenerates nothing.",
    )

    size: Literal["source", "bucket"] = Field(
        "source",
        title="Size",
        description="Keep the size of the source image, or use the model's size that is closest in aspect ratio.",
    )
    references: bool | None = Field(
        None,
        title="References",
        description="Pass the row's other images to the model too, and store them in input_images; not all models can. "
        "Empty: an API gets them, in new datasets.",
    )
    references_layout: Literal["separate", "stitch"] = Field(
        "separate",
        title="References layout",
        description="How references are passed: separately, or stitched side by side with the image (FLUX.1 Kontext).",
    )
    multi_turn: bool = Field(
        False,
        title="Multi-turn",
        description="Apply the instructions in sequence, each to the previous result; one dataset row per turn.",
    )
    images_per_instruction: int = Field(
        1,
        ge=1,
        le=10_000,
        title="Images per instruction",
        description="Number of edits of one image by one instruction in the dataset; each has another seed.",
    )
    select: Select | None = Field(
        None,
        title="Select",
        description="Generate more candidates than images_per_instruction, and keep the best; absent: all are kept.",
    )
    inverse: bool = Field(
        False,
        title="Inverse",
        description="For each edit in the dataset a further row with the two images swapped, and the row's column "
        "inverse_edit as its instruction (docs/topics/chains.md).",
    )

    @model_validator(mode="after")
    def _instructions_differ(self) -> Edit:
        if not self.multi_turn and len(set(self.instructions)) < len(self.instructions):
            twice = next(text for text in self.instructions if self.instructions.count(text) > 1)
            raise ValueError(f"instructions lists {shown(twice)} twice: list each instruction once")
        return self

    @model_validator(mode="after")
    def _has_references_to_lay_out(self) -> Edit:
        if self.references_layout != "separate" and not self.references:
            raise ValueError(
                f"references_layout is {shown(self.references_layout)}, but references is false: set it to true"
            )
        return self

    @model_validator(mode="after")
    def _has_enough_candidates(self) -> Edit:
        if self.multi_turn and self.images_per_instruction > 1:
            raise ValueError(
                f"multi_turn is true and images_per_instruction is {self.images_per_instruction}: each turn edits the "
                "one image of the turn before; set images_per_instruction to 1"
            )
        if self.select is not None:
            self.select.check_of(self.images_per_instruction, "images_per_instruction")
        return self

    @property
    def kept(self) -> int:
        """Most edits of an image by an instruction that are kept."""
        return self.images_per_instruction


class ChainStep(Section):
    """One step of a chain: a `generate` section or an `edit` section."""

    generate: Generate | None = Field(None, title="Generate", description="Generate from prompts; first step only.")
    edit: Edit | None = Field(None, title="Edit", description="Edit the previous step's images.")

    @model_validator(mode="after")
    def _has_one_section(self) -> ChainStep:
        if (self.generate is None) == (self.edit is None):
            raise ValueError("a step is either {generate: {...}} or {edit: {...}}")
        return self
