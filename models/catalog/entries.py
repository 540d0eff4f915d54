"""Entries of the catalog: the shipped ones, overridden by the user's. Validated when they are read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from imagemill.data.config.schedulers import SchedulerName
from imagemill.data.errors import RecipeError
from imagemill.data.messages import field_path, shown_path
from imagemill.data.storage.yaml_file import BadYaml, read_yaml_file
from imagemill.models.catalog.families.own import check_own
from imagemill.models.catalog.families.presets import NamedPreset
from imagemill.models.catalog.scorers.entries import ScorerEntry
from imagemill.models.catalog.spec import Quantized, Task

HERE = Path(__file__).parent
USER_FILE = "IMAGEMILL_MODELS"
"""Environment variable with the path of the user's models file."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ControlnetCall(_Entry):
    """Call of a task with a ControlNet."""

    pipeline: str
    part: str
    """Name of the ControlNet's class in diffusers."""
    schedulers: list[SchedulerName] | None = None


class TaskCall(_Entry):
    """Call of one task of a family. None: as the family has it."""

    pipeline: str
    strength: float | None = Field(None, gt=0, le=1)
    """Share of the source that is regenerated, 0 to 1; None where the pipeline takes no strength."""
    max_batch: int | None = Field(None, ge=1)
    references: bool = False
    """True if a list of images belongs to one row; max_batch is then 1."""
    stitches: bool = False
    """True if its input image may be larger than the generated one, so that references can stand beside it."""
    schedulers: list[SchedulerName] | None = None
    only: list[tuple[int, int]] | None = None
    """The only widths and heights, in pixels, that the pipeline generates; None: any."""
    controlnet: ControlnetCall | None = None
    """None where none generates reproducibly."""
    ip_adapter: bool = False
    """True if its pipeline takes an IP-Adapter, with or without a ControlNet."""
    arguments: dict[str, bool | int | float | str] = {}
    """Further arguments of every call."""

    def takes(self, layout: str) -> bool:
        """True if a row may have references in this layout (the recipe's references_layout)."""
        return self.stitches if layout == "stitch" else self.references


class Family(_Entry):
    """Models that one pipeline class of diffusers loads, and their common settings."""

    tasks: dict[Task, TaskCall]
    version: int = Field(1, ge=1)
    """Raised when imagemill calls its pipelines in another way, so that all of their images are generated again."""
    texts_vary: bool = False
    """True if the length of what its pipelines make of a text depends on it: speed.compile makes one graph for all."""
    schedulers: list[SchedulerName] = []
    """Those that it can generate with beside its own."""
    dtype: Literal["float32", "bfloat16", "float16"]
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    steps: int = Field(ge=1)
    guidance_scale: float | None = Field(None, ge=0)
    guidance_argument: str = "guidance_scale"
    uses_guidance: bool | None = None
    """True if a guidance scale changes anything; None: the model's files decide, and by default it does."""
    image_guidance_scale: float | None = Field(None, ge=0)
    size_multiple: int = Field(ge=1)
    buckets: list[tuple[int, int]] | None = None
    """Widths and heights, in pixels, that its makers recommend; None: derived from its area and multiple."""
    only_buckets: bool = False
    """True if the pipeline generates no other sizes."""
    negative_prompt: bool
    empty_negative: str | None = None
    true_cfg: bool = False
    """True if its pipelines take a negative prompt if they are given a true_cfg_scale, and none otherwise."""
    max_sequence_length: int | None = Field(None, ge=1)
    min_steps: int = Field(1, ge=1)
    """The fewest steps with its published scheduler."""
    packages: dict[str, str] = {}
    """Part -> package that loads it and that imagemill does not install."""
    quantized: Quantized = "large"
    """A family that comes to be ``large`` has its quantized images generated again."""


class Entry(_Entry):
    """One model. Omitted fields are as its family has them."""

    family: str
    repository: str | None = Field(None, pattern=r"^[A-Za-z0-9][\w.-]*/[\w.-]+$")
    folder: str | None = None
    file: str | None = Field(None, pattern=r"(?i)\.(safetensors|sft)$")
    """A single file with the whole model. In place of a folder."""
    earlier: list[str] = []
    """Folders with earlier weights, the oldest first: a dataset that was begun with one of them continues with it."""
    revision: str | None = None
    aliases: list[str] = []
    """Further names, which other tools use for it. All names and aliases count in any capitals."""
    parts: dict[str, str] = {}
    """Parts that its repository lacks: name in the pipeline -> repository."""
    preset: NamedPreset = None
    """Steps, guidance and scheduler together; settings of the entry or the recipe override them."""
    tasks: list[Task] | None = None
    """Those of its family's tasks that the model was trained for; None: all."""
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    width: int | None = Field(None, gt=0)
    height: int | None = Field(None, gt=0)
    steps: int | None = Field(None, ge=1)
    guidance_scale: float | None = Field(None, ge=0)
    uses_guidance: bool | None = None
    image_guidance_scale: float | None = Field(None, ge=0)
    size_multiple: int | None = Field(None, ge=1)
    buckets: list[tuple[int, int]] | None = None
    negative_prompt: bool | None = None
    max_sequence_length: int | None = Field(None, ge=1)
    memory_gib: float | None = Field(None, gt=0)
    """Of its weights, in its dtype."""
    licence: str = "unknown"
    gated: bool = False
    outputs: str = "unknown"
    """The licence's terms for generated images."""

    @model_validator(mode="after")
    def _lies_somewhere(self) -> Entry:
        if [self.repository, self.folder, self.file].count(None) != 2:
            raise ValueError("give one of 'repository' (org/name), 'folder' and 'file'")
        if self.earlier and self.folder is None:
            raise ValueError("'earlier' are folders: give 'folder' too, with the newest weights")
        return self

    @property
    def path(self) -> Path | None:
        """Its folder or file on this machine; None for a repository."""
        found = self.folder or self.file
        return Path(found) if found else None

    def settings(self, family: Family) -> dict[str, Any]:
        """The family's settings, overridden by the entry's. An explicit null counts."""
        own = self.model_dump(include=self.model_fields_set & set(Family.model_fields) - {"tasks", "schedulers"})
        # An entry with another size does not share the family's sizes.
        sizes = {"buckets": None} if {"width", "height"} & set(own) else {}
        preset = self.preset.model_dump(exclude={"scheduler"}) if self.preset else {}
        return {**family.model_dump(exclude={"tasks", "schedulers"}), **sizes, **preset, **own}

    def calls(self, family: Family) -> dict[Task, TaskCall]:
        """Call of each task that the model can do."""
        return {task: call for task, call in family.tasks.items() if self.tasks is None or task in self.tasks}


class ModelsFile(_Entry):
    """A file of families, models and scorers."""

    families: dict[str, Family] = {}
    models: dict[str, Entry] = {}
    scorers: dict[str, ScorerEntry] = {}


@dataclass(frozen=True, slots=True)
class Catalog:
    """Families by the name of their pipeline class, and models by name."""

    families: Mapping[str, Family]
    models: Mapping[str, Entry]
    own: frozenset[str] = frozenset()
    """Names of the models and scorers in the user's file."""
    scorers: Mapping[str, ScorerEntry] = field(default_factory=dict)
    """Models that judge images, by name."""
    untried: frozenset[str] = frozenset()
    """Names of the families in the user's file, which imagemill's tests do not have."""

    def key_of(self, name: str) -> str | None:
        """The key of the model that has this name or alias, in any capitals; None if none has."""
        if name in self.models:
            return name
        named = {word.lower(): key for key in reversed(self.models) for word in self.names_of(key)}
        return named.get(name.lower())

    def names_of(self, key: str) -> list[str]:
        """A model's key and its aliases."""
        return [key, *self.models[key].aliases]

    def key_of_repository(self, name: str) -> str | None:
        """The key of the first model with this repository, in any capitals; None if there is none."""
        found = (key for key, entry in self.models.items() if (entry.repository or "").lower() == name.lower())
        return next(found, None)

    def scorer_of(self, name: str) -> str | None:
        """The key of the scorer with this name, alias or repository, in any capitals; None if there is none."""
        if name in self.scorers:
            return name
        for key, entry in self.scorers.items():
            if name.lower() in (word.lower() for word in (key, *entry.aliases, entry.repository or "")):
                return key
        return None

    def takes_references(self, layout: str = "separate") -> list[str]:
        """The models that take several images for one instruction in this layout."""
        return [
            name
            for name, entry in self.models.items()
            if any(call.takes(layout) for call in entry.calls(self.families[entry.family]).values())
        ]

    def takes(self, adapter: Literal["controlnet", "ip_adapter"]) -> list[str]:
        """The models that can be steered with such an adapter."""
        return [
            name
            for name, entry in self.models.items()
            if any(getattr(call, adapter) for call in entry.calls(self.families[entry.family]).values())
        ]

    def able(self, task: Task) -> list[str]:
        """The models that can do a task."""
        return [name for name, entry in self.models.items() if task in entry.calls(self.families[entry.family])]


def read_catalog(user_file: str | None = None) -> Catalog:
    """The shipped catalog, overridden by the user's models.

    ``user_file``: path of a YAML file with the keys ``models``, ``families`` and ``scorers``; None: the one that
    IMAGEMILL_MODELS names, if any. Raises RecipeError.
    """
    shipped = _shipped()
    field, path = ("recipe.models_file", user_file) if user_file else (USER_FILE, os.environ.get(USER_FILE))
    if not path:
        return Catalog(shipped.families, shipped.models, scorers=shipped.scorers)
    own = _read(field, Path(path).expanduser())
    check_own(field, path, own, Catalog(shipped.families, shipped.models))
    names = frozenset({*own.models, *own.scorers})
    return Catalog(
        {**shipped.families, **own.families},
        {**shipped.models, **own.models},
        names,
        scorers={**shipped.scorers, **own.scorers},
        untried=frozenset(own.families),
    )


@lru_cache(maxsize=1)
def _shipped() -> ModelsFile:
    return _read("the catalog", HERE / "catalog.yaml")


def _read(field: str, path: Path) -> ModelsFile:
    try:
        content = read_yaml_file(path) or {}
        file = ModelsFile.model_validate(content)
    except OSError as error:
        raise RecipeError(f"{field} is {shown_path(path)}, which cannot be read: {error.strerror or error}.") from error
    except BadYaml as error:
        raise RecipeError(f"{field} is {shown_path(path)}, which is not YAML: {error}.") from error
    except ValidationError as error:
        fault = error.errors()[0]
        where = field_path(fault["loc"])
        allowed = _allowed(fault["loc"]) if fault["type"] == "extra_forbidden" else ""
        raise RecipeError(
            f"{field}: {where or 'the top level'} in {shown_path(path)}: {fault['msg']}{allowed}."
        ) from error
    models = {name: _beside(path, entry) for name, entry in file.models.items()}
    scorers = {name: _beside(path, entry) for name, entry in file.scorers.items()}
    return file.model_copy(update={"models": models, "scorers": scorers})


def _beside(path: Path, entry: _Entry) -> Any:
    """The entry with the folders and files that it names relative to ``path``, which is the file that it is in."""

    def beside(name: str) -> str:
        return str(path.parent / Path(name).expanduser())

    names = {field: beside(name) for field in ("folder", "file") if (name := getattr(entry, field, None))}
    earlier = [beside(name) for name in getattr(entry, "earlier", ())]
    return entry.model_copy(update={**names, **({"earlier": earlier} if earlier else {})})


def _allowed(where: tuple[int | str, ...]) -> str:
    fields = (
        {"models": Entry, "families": Family, "scorers": ScorerEntry}.get(str(where[0]))
        if len(where) > 1
        else ModelsFile
    )
    return f"; allowed are {', '.join(fields.model_fields)}" if fields else ""
