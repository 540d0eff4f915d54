"""The recipe: everything a person decides about a dataset, checked once, at the border.

The command line, the dashboard's form and docs/recipe.md are all generated from these classes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator

from imagemill.data.config.fields import MaybeText, OwnOrEmpty, Section, Text
from imagemill.data.config.shipped import find_sample
from imagemill.data.config.steps import ChainStep, Edit, Generate
from imagemill.data.config.template import Sweep, Template, placeholders

GUIDES = {"control_image": "controlnet", "image_prompt": "ip_adapter"}
"""Images of a row that steer its generation: field of recipe.columns -> the field of `generate` that wants one."""


class Columns(Section):
    """Which field of the prompts file is what. Names match exactly, else without regard to case."""

    prompt: Text = Field("prompt", title="Prompt", description="Field with the prompt.")
    conversations: Text = Field(
        "conversations",
        title="Conversations",
        description="Field with chat messages: each user message is one prompt; the last is an edit's instruction.",
    )
    images: Text = Field(
        "images",
        title="Images",
        description="Field with the image to edit: a path or a URL, in Parquet also its bytes; or a list of one.",
    )
    edit_prompt: Text = Field("edit_prompt", title="Edit prompt", description="Field with the row's edit instruction.")
    mask: Text = Field(
        "mask",
        title="Mask",
        description="Field with an inpainting's mask, given as an image is; where it is white is repainted.",
    )
    control_image: Text = Field(
        "control_image",
        title="Control image",
        description="With generate.controlnet: field with the image that it follows, given as an image is.",
    )
    image_prompt: Text = Field(
        "image_prompt",
        title="Image prompt",
        description="With generate.ip_adapter: field with the image that counts beside the words, given so too.",
    )
    id: Text = Field(
        "id", title="Id", description="Field with the row's own id; rows without one are named by content."
    )
    aspect_ratio: MaybeText = Field(
        None,
        title="Aspect ratio",
        description="Field with the shape to generate, such as 3:2; empty: no field is read for it.",
    )


class Checks(Section):
    """What is looked for in every image before it is kept; one that fails is drawn once more, then set aside."""

    not_finite: bool = Field(True, title="Not finite", description="Values that are not numbers (NaN or infinite).")
    blank: bool = Field(True, title="Blank", description="Images of one colour, or black all over.")
    size: bool = Field(True, title="Size", description="Images of another size than was asked for.")
    unchanged: bool = Field(True, title="Unchanged", description="Edits that are identical to their source.")


class Recipe(Section):
    """A dataset to build: which prompts, which models, and where it goes."""

    name: OwnOrEmpty = Field(
        "",
        pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,99})?$",
        title="Name",
        description="The dataset's name: letters, digits, dot, dash, underscore; empty: the output folder's.",
    )
    prompts: OwnOrEmpty = Field(
        "",
        title="Prompts",
        description="The prompts file: .jsonl, .csv, .tsv, .parquet or .txt; empty: the template makes them all. A "
        "path, a URL, or on the Hub hf://datasets/org/name/path or hf:org/name:config:split.",
    )
    template: Template | None = Field(
        None, title="Template", description="Makes prompts of a text with names in braces; absent: the file's own."
    )
    sweep: Sweep | None = Field(
        None, title="Sweep", description="Generates every prompt with each combination of settings; absent: once."
    )
    output: OwnOrEmpty = Field(
        "",
        title="Output",
        description="The folder for the dataset, or a URL such as s3://bucket/name; empty: out/<name>.",
    )
    generate: Generate | None = Field(
        None, title="Generate", description="Generate images from prompts; absent: images come from the rows."
    )
    edit: Edit | None = Field(None, title="Edit", description="Edit each image; absent: images are not edited.")
    steps: list[ChainStep] = Field(
        [],
        title="Steps",
        description="A longer chain in place of generate and edit: a list such as [{generate: {}}, {edit: {}}, ...].",
    )
    columns: Columns = Field(Columns(), title="Columns", description="Which field of the prompts file is what.")
    cache_dir: MaybeText = Field(
        None, title="Model cache", description="Folder of the models from the hub; empty: the hub's own (HF_HOME)."
    )
    models_file: MaybeText = Field(
        None, title="Models file", description="YAML file with models of your own; empty: the one in IMAGEMILL_MODELS."
    )
    shard_size: int = Field(64, ge=1, le=100_000, title="Shard size", description="Rows built and committed together.")
    image_format: Literal["png", "jpeg", "webp"] = Field(
        "png", title="Image format", description="How images are stored; png is lossless."
    )
    quality: int = Field(
        95, ge=1, le=100, title="Quality", description="For jpeg and webp: 1 (small) to 100 (best); png ignores it."
    )
    on_removed: Literal["drop", "keep"] = Field(
        "drop",
        title="On a removed prompt",
        description="Rows whose prompt is gone from the prompts file leave the dataset, or are kept.",
    )
    prompt_truncated: bool | None = Field(
        None,
        title="Prompt truncated",
        description="Columns that tell which prompts and instructions their model read only in part; empty: a new "
        "dataset has them, an older one stays as it is.",
    )
    checks: Checks = Field(Checks(), title="Checks", description="What is looked for in every image.")
    max_set_aside: float = Field(
        0.05,
        ge=0,
        le=1,
        title="Most rows set aside",
        description="Share of rows (0 to 1) that may be set aside; with more the build fails, the good rows kept.",
    )
    on_bad_row: Literal["set_aside", "stop"] = Field(
        "set_aside", title="On a bad row", description="Set the row aside and go on, or stop the build."
    )
    on_oom: Literal["halve_batch", "set_aside", "stop"] = Field(
        "halve_batch",
        title="Out of memory",
        description="When a batch does not fit into the device: draw smaller batches, set its rows aside, or stop.",
    )
    max_resident: int | None = Field(
        None,
        ge=1,
        title="Models on a device",
        description="The most models that stay on one device; the others wait in host memory. Empty: as many as fit.",
    )
    batch_timeout: float = Field(
        3600.0,
        gt=0,
        le=86_400,
        title="Batch timeout",
        description="Seconds after which a batch is taken to hang: its worker process is replaced.",
    )

    @model_validator(mode="after")
    def _complete(self) -> Recipe:
        self._check_prompts()
        self._check_steps()
        self._check_columns()
        if self.generate is None and self.edit is None and not self.steps:
            raise ValueError(
                "nothing to draw: give a 'generate' section, an 'edit' section, or both "
                "('generate: {}' is one that leaves everything open)"
            )
        for field in ("prompts", "output", "cache_dir", "models_file"):
            path = getattr(self, field)
            if path and path.startswith("~/"):
                object.__setattr__(self, field, str(Path(path).expanduser()))
        stem = Path(self.output).name if self.output else Path(self.prompts).name.split(".")[0]
        name = self.name or re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:100] or "dataset"
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "output", self.output or f"out/{name}")
        return self

    @property
    def rows_from(self) -> str:
        """Where the rows come from, for messages and the rows' own record."""
        return self.prompts or "recipe.template"

    @property
    def prompts_path(self) -> str:
        """Where the prompts are read from: ``prompts``, or the sample in the package that it names."""
        return find_sample(self.prompts)

    def _check_prompts(self) -> None:
        if self.prompts:
            return
        if self.template is None:
            missing = {"type": "missing", "loc": ("prompts",), "input": None}
            raise ValidationError.from_exception_data("Recipe", [missing])
        lacking = sorted(placeholders(self.template) - set(self.template.values))
        if lacking:
            raise ValueError(
                f"the template has {{{lacking[0]}}}, but template.values has no list of that name, and no prompts file "
                "is given that could have such a column"
            )

    def _check_columns(self) -> None:
        sections = [self.generate, *(step.generate for step in self.steps)]
        for role, field in GUIDES.items():
            name = getattr(self.columns, role)
            if name != Columns.model_fields[role].default and not any(one and getattr(one, field) for one in sections):
                raise ValueError(
                    f"columns.{role} is {name!r}, but no 'generate' section has the {field} that would read "
                    f"it: give generate.{field}, or leave columns.{role} out"
                )

    def _check_steps(self) -> None:
        if self.steps and (self.generate is not None or self.edit is not None):
            raise ValueError("'steps' is given and 'generate' or 'edit' too: put them all into 'steps'")
        for number, step in enumerate(self.steps):
            if number and step.generate is not None:
                raise ValueError(f"steps.{number} generates, but a chain generates first and then edits")
        edits = [step.edit for step in self.steps if step.edit is not None]
        generates = self.generate is not None or any(step.generate is not None for step in self.steps)
        given = [] if generates else (edits or [self.edit])[:1]
        if any(edit is not None and edit.references and edit not in given for edit in [self.edit, *edits]):
            raise ValueError("'references' are a row's own images: only the first edit of given images has them")
        for number, edit in enumerate(edits[1:], 2):
            if not edit.instructions:
                raise ValueError(
                    f"the chain's edit number {number} has no 'instructions': a row's own are for the first edit alone"
                )
