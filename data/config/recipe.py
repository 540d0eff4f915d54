"""Recipe schema: every setting of a dataset, validated once when it is loaded.

The command line, the dashboard form and docs/reference/recipe.md are generated from these classes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator

from imagemill.data.config.checks import Checks
from imagemill.data.config.columns import Columns
from imagemill.data.config.fields import MaybeText, Section, TextOrEmpty
from imagemill.data.config.images import Images
from imagemill.data.config.judging.checks import check_judging
from imagemill.data.config.judging.duplicates import Duplicates
from imagemill.data.config.judging.given import Given
from imagemill.data.config.judging.names import ScorerName
from imagemill.data.config.judging.pairs import Pairs
from imagemill.data.config.judging.scorers import Scorer
from imagemill.data.config.judging.splits import Splits
from imagemill.data.config.recipe_checks import check_columns, check_steps
from imagemill.data.config.shipped import find_sample
from imagemill.data.config.steps import ChainStep, Edit, Generate
from imagemill.data.config.template import Sweep, Template, placeholders
from imagemill.data.config.words.checks import check_words
from imagemill.data.config.words.llm import LlmStep


class Recipe(Section):
    """A dataset to build: its prompts, models, settings and output."""

    name: TextOrEmpty = Field(
        "",
        pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,99})?$",
        title="Name",
        description="The dataset's name: letters, digits, dot, dash, underscore; empty: the output folder's name.",
    )
    prompts: TextOrEmpty = Field(
        "",
        title="Prompts",
        description="The prompts: a file (.jsonl, .json, .csv, .tsv, .txt, .parquet, .arrow, .tar), a folder or glob "
        "of such files, or a folder of images; empty: the template or llm makes all prompts. A path, a URL, or on the "
        "Hub hf://datasets/org/name/path or hf:org/name:config:split.",
    )
    template: Template | None = Field(
        None,
        title="Template",
        description="Builds prompts from a text with placeholders in braces; absent: prompts are used as they are.",
    )
    llm: list[LlmStep] = Field(
        [],
        title="Language models",
        description="Columns that language models write for each row, in order and before the template, such as "
        "[{model: ..., api: {base_url: ...}, ask: ..., fields: {edit_prompt: text}}].",
    )
    sweep: Sweep | None = Field(
        None,
        title="Sweep",
        description="Generates every prompt with each combination of settings; absent: each prompt once.",
    )
    output: TextOrEmpty = Field(
        "",
        title="Output",
        description="Folder for the dataset, or a URL such as s3://bucket/name; empty: out/<name>.",
    )
    generate: Generate | None = Field(
        None, title="Generate", description="Generate images from prompts; absent: the rows supply the images."
    )
    edit: Edit | None = Field(None, title="Edit", description="Edit each image; absent: images are not edited.")
    steps: list[ChainStep] = Field(
        [],
        title="Steps",
        description="A longer chain, instead of generate and edit: a list such as [{generate: {}}, {edit: {}}, ...].",
    )
    given: Given | None = Field(
        None,
        title="Given",
        description="Without generate and edit: the choice among the rows' images; absent: all are kept.",
    )
    scorers: dict[ScorerName, Scorer] = Field(
        {},
        title="Scorers",
        description="Name -> scorer of the images: each becomes the column score_<name>. For instance "
        "{fits: {kind: similarity, model: bundled-clip}}.",
    )
    rejected: Literal["keep", "scores", "drop"] = Field(
        "keep",
        title="Rejected",
        description="Candidates that are not chosen: keep their images in rejected/, only their scores, or nothing.",
    )
    splits: Splits | None = Field(
        None, title="Splits", description="Splits of the dataset, by a hash; absent: all rows are in train."
    )
    duplicates: Duplicates | None = Field(
        None, title="Duplicates", description="Reject images that look like an earlier one; absent: they are kept."
    )
    pairs: Pairs | None = Field(
        None, title="Pairs", description="Write preference pairs of the candidates to pairs/; absent: none."
    )
    columns: Columns = Field(Columns(), title="Columns", description="Names of the fields in the prompts file.")
    images: Images = Field(Images(), title="Images", description="Limits for the images that rows name or embed.")
    cache_dir: MaybeText = Field(
        None,
        title="Model cache",
        description="Folder for models from the Hub; empty: the Hub's default cache (HF_HOME).",
    )
    models_file: MaybeText = Field(
        None,
        title="Models file",
        description="YAML file with user-defined models; empty: the file named in IMAGEMILL_MODELS.",
    )
    shard_size: int | None = Field(
        None,
        ge=1,
        le=100_000,
        title="Shard size",
        description="Rows per shard; a shard is built and committed as one. Empty: 64, or the multiple of it with "
        "which the build has at most 2,000 shards.",
    )
    image_format: Literal["png", "jpeg", "webp"] = Field(
        "png", title="Image format", description="File format of the images; png is lossless."
    )
    quality: int = Field(
        95,
        ge=1,
        le=100,
        title="Quality",
        description="Quality of jpeg and webp, 1 (small) to 100 (best); png ignores it.",
    )
    on_removed: Literal["drop", "keep"] = Field(
        "drop",
        title="On a removed prompt",
        description="Drop rows from the dataset once their prompt has left the prompts file, or keep them.",
    )
    prompt_truncated: bool | None = Field(
        None,
        title="Prompt truncated",
        description="Add columns that flag prompts and instructions truncated by their model; empty: new datasets get "
        "them, existing ones stay as they are.",
    )
    checks: Checks = Field(Checks(), title="Checks", description="Checks on every image before it is stored.")
    max_set_aside: float = Field(
        0.05,
        ge=0,
        le=1,
        title="Maximum set aside",
        description="Fraction of rows that may be set aside; above it the build fails, but keeps its good rows.",
    )
    on_bad_row: Literal["set_aside", "stop"] = Field(
        "set_aside", title="On a bad row", description="Set the row aside and continue, or stop the build."
    )
    on_oom: Literal["halve_batch", "set_aside", "stop"] = Field(
        "halve_batch",
        title="Out of memory",
        description="If a batch does not fit in device memory: halve the batch, set its rows aside, or stop.",
    )
    max_resident: int | None = Field(
        None,
        ge=1,
        title="Models on a device",
        description="Maximum number of models on one device; others move to host memory. Empty: as many as fit.",
    )
    batch_timeout: float = Field(
        3600.0,
        gt=0,
        le=86_400,
        title="Batch timeout",
        description="Seconds after which a batch counts as hung and its worker process is replaced.",
    )

    @model_validator(mode="after")
    def _complete(self) -> Recipe:
        self._check_prompts()
        sections = self._sections()
        check_steps(self, sections)
        check_columns(self.columns, sections)
        check_judging(self, sections)
        check_words(self)
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
        """Source of the rows, for messages and for the rows themselves."""
        return self.prompts or ("recipe.template" if self.template else "recipe.llm")

    @property
    def prompts_path(self) -> str:
        """Path or URL to read the prompts from: ``prompts``, or the packaged sample that it names."""
        return find_sample(self.prompts)

    def _check_prompts(self) -> None:
        if self.prompts:
            return
        if self.template is None and self.llm:
            return
        if self.template is None:
            raise ValidationError.from_exception_data(
                "Recipe", [{"type": "missing", "loc": ("prompts",), "input": None}]
            )
        written = {name for step in self.llm for name in step.fields}
        undefined = sorted(placeholders(self.template) - set(self.template.values) - written)
        if undefined:
            raise ValueError(
                f"the template has {{{undefined[0]}}}, but template.values has no list of that name, and no prompts "
                "file is given that could have such a column"
            )

    def _sections(self) -> dict[str, Generate | Edit]:
        """Place in the recipe -> section of each step, in order."""
        places = {"generate": self.generate, "edit": self.edit}
        for number, step in enumerate(self.steps):
            places |= {f"steps.{number}.generate": step.generate, f"steps.{number}.edit": step.edit}
        return {place: section for place, section in places.items() if section is not None}
