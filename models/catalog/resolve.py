"""Resolution of the models that a recipe names: files, pipeline, defaults and limits of each, known exactly.

Imports no torch, so that a plan, or a build that has nothing to generate, never waits for it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from imagemill.data.config.steps import Edit, Generate
from imagemill.data.errors import RecipeError, UnknownModel
from imagemill.data.images.size_buckets import buckets_around
from imagemill.data.messages import shown, shown_path
from imagemill.models.catalog.adapters.find import find_adapters
from imagemill.models.catalog.capabilities import (
    arguments_of,
    check_references,
    check_safety,
    fewest_steps,
    task_of,
)
from imagemill.models.catalog.entries import Catalog, Entry, Family, TaskCall, read_catalog
from imagemill.models.catalog.external_parts import find_external_parts, find_given_parts, given_guidance
from imagemill.models.catalog.families.packages import check_packages
from imagemill.models.catalog.families.signature import family_of
from imagemill.models.catalog.limits import Defaults, Limits
from imagemill.models.catalog.model_files import saved_dtype
from imagemill.models.catalog.not_a_model import CHECKPOINTS, INDEX, class_name, not_a_model, uncallable
from imagemill.models.catalog.own_limits import fewest_own_steps, most_steps, reads_negative, uses_guidance
from imagemill.models.catalog.quantized_files import check_quantized, find_quantized, find_quantized_parts
from imagemill.models.catalog.schedulers import check_own_scheduler, check_scheduler
from imagemill.models.catalog.single_file.checkpoint import SINGLE_FILES, read_checkpoint
from imagemill.models.catalog.single_file.folder import config_folder
from imagemill.models.catalog.single_file.locate import locate_checkpoint
from imagemill.models.catalog.source import Locator, ModelSource, check_no_revision, is_repository, pin_of
from imagemill.models.catalog.spec import CallSettings, ModelSpec, Step
from imagemill.models.catalog.weight_files import check_weights

MAX_INDEX_BYTES = 2**20
"""A longer one is cut, and so is not JSON: it lists a dozen parts."""


def resolve(
    step: Step, section: Generate | Edit, cache_dir: str | None = None, models_file: str | None = None
) -> ModelSpec:
    """The exact model that one section names, outside of a dataset: a repository's newest commit counts.

    Arguments and errors as Resolver.resolve and read_catalog have them.
    """
    return Resolver(read_catalog(models_file), Locator(cache_dir)).resolve(step, section)


@dataclass(frozen=True, slots=True)
class Resolver:
    """Makes exact models of what a recipe's sections name."""

    catalog: Catalog
    locator: Locator = field(default_factory=Locator)

    def resolve(self, step: Step, section: Generate | Edit) -> ModelSpec:
        """The exact model that a section names. ``step`` is where the recipe has it: ``edit``, ``steps.1.edit``.

        Raises UnknownModel and RecipeError, naming the field.
        """
        field = f"recipe.{step}"
        key = self._key(section)
        entry = self.catalog.models.get(key or "")
        source = self._locate(field, section, entry)
        folder = self._folder(field, source)
        index = partial(self._index, field, source, folder)
        name = entry.family if entry else class_name(f"{field}.model", section.model, index())
        family = self.catalog.families.get(name) or family_of(name)
        if family is None:
            raise uncallable(f"{field}.model", section.model, name, self.catalog)
        if section.safety != "off":
            check_safety(step, section, index())
        settings = _settings(field, section, entry, family, source)
        call = self._call(step, section, entry, family)
        adapters = find_adapters(step, section, call, self.catalog, self.locator)
        step_call = call.controlnet if adapters.controlnet else call
        # Of a repository in the catalog no file is needed before a worker has something to generate.
        has_index = entry is None or folder is not None
        known = json.loads(index()) if has_index else None
        check_packages(f"{field}.model is {shown(section.model)}", family.packages, known)
        parts = find_given_parts(f"{field}.parts", section.parts, known, self.locator)
        own_parts = {name: part for name, part in (entry.parts if entry else {}).items() if name not in section.parts}
        parts = (*find_external_parts(f"{field}.model", own_parts, self.locator), *parts)
        quantized = find_quantized(f"{field}.model", source, known or {}, self.locator)
        quantized = {part: method for part, method in quantized.items() if part not in section.parts}
        check_quantized(f"{field}.model is {shown(section.model)}", quantized)
        quantized |= find_quantized_parts(field, parts, self.locator)
        arguments = arguments_of(step, section, call, step_call.pipeline, settings)
        min_steps = max(
            fewest_steps(task_of(section), call.pipeline, arguments.get("strength")),
            fewest_own_steps(settings["min_steps"], folder),
        )
        has_true_cfg = section.true_cfg_scale is not None
        size = settings["width"], settings["height"]
        allowed = family.schedulers if step_call.schedulers is None else step_call.schedulers
        named = section.scheduler or (entry.preset.scheduler if entry and entry.preset else None)
        scheduler = check_scheduler(f"{field}.scheduler", named, section.model, allowed)
        if scheduler is None and has_index:
            check_own_scheduler(step, section.model, name, allowed, index(), folder)
        stitches = isinstance(section, Edit) and section.references_layout == "stitch"
        return ModelSpec(
            name=key or _name_of(source, section.model),
            source=source,
            pipeline=step_call.pipeline,
            dtype=settings["dtype"],
            defaults=Defaults(
                *size,
                # A model distilled to one step generates with more where the first ones are left out.
                steps=max(settings["steps"], min_steps),
                guidance_scale=settings["guidance_scale"],
            ),
            limits=Limits(
                size_multiple=settings["size_multiple"],
                negative_prompt=reads_negative(settings["negative_prompt"], name, known) or has_true_cfg,
                true_cfg=settings["true_cfg"],
                uses_guidance=uses_guidance(
                    settings["uses_guidance"], name, folder, given_guidance(f"{field}.parts.transformer", parts)
                ),
                min_steps=min_steps,
                max_steps=most_steps(name, scheduler, known, folder, arguments.get("strength")),
                # diffusers gives all rows of a call the same image prompt.
                # Stitched images are as wide as each row's references make them.
                max_batch=1 if adapters.ip_adapter or stitches else call.max_batch,
                buckets=tuple(call.only or settings["buckets"] or buckets_around(*size, settings["size_multiple"])),
                only_buckets=settings["only_buckets"] or call.only is not None,
            ),
            call=CallSettings(
                arguments=arguments,
                guidance_argument=settings["guidance_argument"],
                # Where a row has none, the pipeline would leave true guidance out.
                empty_negative="" if has_true_cfg else settings["empty_negative"],
                max_sequence_length=settings["max_sequence_length"],
                # Compiled images of these depended on what their worker had generated before.
                version=family.version + (family.texts_vary and section.speed.compile),
                texts_vary=family.texts_vary,
                stitches=stitches,
                keep_unmasked=task_of(section) == "inpaint" and section.keep_unmasked,
                to_bucket=isinstance(section, Edit) and (section.size == "bucket" or call.only is not None),
            ),
            adapters=adapters,
            external_parts=parts,
            scheduler=scheduler,
            speed=section.speed,
            memory=section.memory,
            quantized=settings["quantized"],
            quantized_files=quantized,
            cache_dir=self.locator.cache_dir,
            licence=entry.licence if entry else "unknown",
            is_catalogued=entry is not None,
            is_untried=name in self.catalog.untried or name not in self.catalog.families,
        )

    def _key(self, section: Generate | Edit) -> str | None:
        """The catalog's key of the model that a section names; None if it has none."""
        name = section.model
        # A folder of this name was always meant by it, as long as it is no key.
        if name not in self.catalog.models and (Path(name).expanduser() / INDEX).is_file():
            return None
        if (key := self.catalog.key_of(name)) or not (key := self.catalog.key_of_repository(name)):
            return key
        entry = self.catalog.models[key]
        pins = pin_of(name, section.revision), pin_of(entry.repository, section.revision or entry.revision)
        return key if self.locator.is_catalogued(*pins) else None

    def _locate(self, field: str, section: Generate | Edit, entry: Entry | None) -> ModelSource:
        name = section.model
        folder = (entry and entry.path) or Path(name).expanduser()
        is_file = entry is None and folder.suffix.lower() in SINGLE_FILES and folder.is_file()
        if is_file or (entry and entry.file):
            check_no_revision(field, name, section.revision)
            return locate_checkpoint(f"{field}.model", folder, section.parts, name, entry and entry.family)
        has_index = (folder / INDEX).is_file()
        if entry is None and not has_index and (folder.is_dir() or not _may_be_repository(name)):
            raise not_a_model(f"{field}.model", name, self.catalog)
        if has_index and (entry is None or entry.folder):
            check_no_revision(field, name, section.revision)
            check_weights(f"{field}.model", name, folder)
            if entry and entry.earlier:
                return self.locator.among(name, folder, [Path(path) for path in entry.earlier])
            return ModelSource(str(folder.resolve()), files=self.locator.hash_folder(folder))
        if entry and entry.folder:
            raise UnknownModel(f"{field}.model is {shown(name)}, but its folder {shown_path(folder)} has no {INDEX}.")
        repository, revision = (
            (entry.repository, section.revision or entry.revision) if entry else (name, section.revision)
        )
        return self.locator.at_commit(f"{field}.model", repository, revision)

    def _folder(self, field: str, source: ModelSource) -> Path | None:
        """The folder with a model's configuration; None for a repository, which may not be here."""
        if source.is_checkpoint:
            return config_folder(read_checkpoint(f"{field}.model", Path(source.location)))
        return Path(source.location) if source.files else None

    def _index(self, field: str, source: ModelSource, folder: Path | None) -> str:
        """The text of a model's model_index.json. ``folder``: where it lies; None for a repository."""
        path = folder / INDEX if folder else source.file(f"{field}.model", INDEX, self.locator.cache_dir)
        return path.read_bytes()[:MAX_INDEX_BYTES].decode("utf-8", "replace")

    def _call(self, step: Step, section: Generate | Edit, entry: Entry | None, family: Family) -> TaskCall:
        """Call of the section's task. Raises RecipeError where the model cannot do it."""
        calls, task = entry.calls(family) if entry else family.tasks, task_of(section)
        if task in calls:
            if isinstance(section, Edit) and section.references:
                check_references(step, section, calls[task], self.catalog)
            return calls[task]
        can = ", ".join(calls)
        could_edit = isinstance(section, Edit) and set(calls) - {"text-to-image"}
        hint = f" (set recipe.{step}.task to one of these: {can})" if could_edit else ""
        raise RecipeError(
            f"recipe.{step}.model is {shown(section.model)}, which cannot do {task}, but {can}{hint}. "
            f"Of the catalog these can do {task}: {', '.join(self.catalog.able(task))}."
        )


def _settings(
    field: str, section: Generate | Edit, entry: Entry | None, family: Family, source: ModelSource
) -> dict[str, Any]:
    """The family's settings with the entry's over them, in the dtype of the section or, without one, of the files."""
    settings = entry.settings(family) if entry else family.model_dump(exclude={"tasks", "schedulers"})
    if section.dtype != "auto":
        return {**settings, "dtype": section.dtype}
    saved = None
    if source.is_checkpoint and (entry is None or entry.dtype is None):
        saved = read_checkpoint(f"{field}.model", Path(source.location)).dtype
    elif source.files and entry is None:
        saved = saved_dtype(f"{field}.model", Path(source.location))
    return {**settings, "dtype": saved or settings["dtype"]}


def _name_of(source: ModelSource, model: str) -> str:
    if source.is_checkpoint:
        return Path(source.location).stem
    return Path(source.location).name if source.files else model


def _may_be_repository(name: str) -> bool:
    return is_repository(name) and not name.lower().endswith(CHECKPOINTS)
