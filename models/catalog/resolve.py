"""The models by name: where each lies, what it is at its best with, and what exactly it is.

Nothing here imports torch: a build that has nothing to draw, or a plan, never waits for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from imagemill.data.config.steps import Edit, Generate
from imagemill.data.errors import RecipeError, UnknownModel
from imagemill.data.images.size_buckets import buckets_around
from imagemill.models.catalog.capabilities import (
    arguments_of,
    check_references,
    check_safety,
    check_scheduler,
    fewest_steps,
    task_of,
    uses_guidance,
)
from imagemill.models.catalog.controlnet import ControlnetFiles, find_controlnet
from imagemill.models.catalog.entries import Catalog, Entry, Family, TaskCall, read_catalog
from imagemill.models.catalog.external_parts import find_external_parts
from imagemill.models.catalog.ip_adapter import IpAdapterFiles, find_ip_adapter
from imagemill.models.catalog.lora import find_loras
from imagemill.models.catalog.model_files import class_name, hash_model, saved_dtype
from imagemill.models.catalog.spec import ModelSpec, Step

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
INDEX = "model_index.json"
_COMMIT = re.compile(r"[0-9a-f]{40}")

CommitOf = Callable[[str, str | None], str]
"""(repository, revision or None) -> commit."""


def known_models(models_file: str | None = None) -> list[str]:
    """The names in the catalog."""
    return list(read_catalog(models_file).models)


@dataclass(frozen=True, slots=True)
class _Found:
    """Where a model's files are, and which."""

    source: str
    commit: str | None
    files: str | None
    family: str | None = None
    """Name of its pipeline class."""

    def read(self, name: str, field: str, cache_dir: str | None) -> str:
        """The text of one of the model's files. Raises RecipeError, naming the field, where the hub has to give it."""
        if self.files:
            return (Path(self.source) / name).read_text(encoding="utf-8")
        from imagemill.models.hub import fetch_file

        return fetch_file(field, self.source, self.commit, name, cache_dir).read_text(encoding="utf-8")


def resolve(
    step: Step,
    section: Generate | Edit,
    cache_dir: str | None,
    commit_of: CommitOf | None = None,
    models_file: str | None = None,
) -> ModelSpec:
    """The exact model that a recipe section names. ``step`` is where the recipe has it: ``edit``, ``steps.1.edit``.

    ``commit_of`` tells the commit of (repository, revision or None); by default the hub is asked. ``models_file`` is a
    person's own. Raises UnknownModel and RecipeError, naming the field.
    """
    catalog, field = read_catalog(models_file), f"recipe.{step}.model"
    entry = catalog.models.get(section.model)
    found = _find(step, section, entry, catalog, cache_dir, commit_of)
    family = catalog.families.get(found.family or "")
    if family is None:
        raise RecipeError(
            f"{field} is {section.model!r}, a {found.family}, which imagemill cannot call yet. "
            f"It can call: {', '.join(catalog.families)}."
        )
    if section.safety != "off":
        check_safety(step, section, found.read(INDEX, field, cache_dir))
    settings = entry.settings(family) if entry else family.model_dump(exclude={"tasks", "schedulers"})
    if section.dtype != "auto":
        settings["dtype"] = section.dtype
    elif entry is None and found.files:
        settings["dtype"] = saved_dtype(field, Path(found.source)) or settings["dtype"]
    call = _call(step, section, entry, family, catalog)
    controlnet, ip_adapter = _beside(step, section, call, catalog, commit_of, cache_dir)
    step_call = call.controlnet if controlnet else call
    arguments = arguments_of(step, section, call, settings)
    own_size = settings["width"], settings["height"]
    stitches = isinstance(section, Edit) and section.references_layout == "stitch"
    min_steps = fewest_steps(task_of(section), call.pipeline, arguments.get("strength"))
    return ModelSpec(
        name=section.model if entry or not found.files else Path(found.source).name,
        source=found.source,
        revision=found.commit,
        files=found.files,
        pipeline=step_call.pipeline,
        dtype=settings["dtype"],
        width=settings["width"],
        height=settings["height"],
        # A model distilled to one step generates more where the first ones are left out.
        steps=max(settings["steps"], min_steps),
        guidance_scale=settings["guidance_scale"],
        size_multiple=settings["size_multiple"],
        negative_prompt=settings["negative_prompt"],
        uses_guidance=uses_guidance(settings["uses_guidance"], found.family, Path(found.source)),
        max_sequence_length=settings["max_sequence_length"],
        licence=entry.licence if entry else "unknown",
        cache_dir=cache_dir,
        speed=section.speed,
        memory=section.memory,
        guidance_argument=settings["guidance_argument"],
        empty_negative=settings["empty_negative"],
        call=arguments,
        # diffusers gives all rows of a call the same image prompt.
        # Stitched images are as wide as each row's references make them.
        max_batch=1 if ip_adapter or stitches else call.max_batch,
        stitches=stitches,
        keep_unmasked=task_of(section) == "inpaint" and section.keep_unmasked,
        scheduler=check_scheduler(
            f"recipe.{step}.scheduler",
            section.scheduler,
            section.model,
            family.schedulers if step_call.schedulers is None else step_call.schedulers,
        ),
        external_parts=find_external_parts(entry.parts if entry else {}, commit_of or _ask(field, cache_dir)),
        controlnet=controlnet,
        ip_adapter=ip_adapter,
        loras=find_loras(f"recipe.{step}.lora", section.lora, commit_of, cache_dir),
        outputs=entry.outputs if entry else "unknown",
        min_steps=min_steps,
        buckets=tuple(call.only or settings["buckets"] or buckets_around(*own_size, settings["size_multiple"])),
        only_buckets=settings["only_buckets"] or call.only is not None,
        to_bucket=isinstance(section, Edit) and (section.size == "bucket" or call.only is not None),
    )


def _find(
    step: Step,
    section: Generate | Edit,
    entry: Entry | None,
    catalog: Catalog,
    cache_dir: str | None,
    commit_of: CommitOf | None,
) -> _Found:
    name, field = section.model, f"recipe.{step}.model"
    folder = Path(entry.folder) if entry and entry.folder else Path(name).expanduser()
    has_index = (folder / "model_index.json").is_file()
    if entry is None and not has_index and not _REPOSITORY.fullmatch(name):
        raise UnknownModel(
            f"{field} is {name!r}, which is neither in the catalog ({', '.join(catalog.models)}), "
            "a local folder with model_index.json, nor an 'org/name' repository."
        )
    if has_index and (entry is None or entry.folder):
        if section.revision:
            raise RecipeError(
                f"recipe.{step}.revision is {section.revision!r}, but the model {name!r} is a local folder, "
                "which has no revisions: leave it out."
            )
        index = (folder / "model_index.json").read_text(encoding="utf-8")
        family = entry.family if entry else class_name(field, name, index)
        return _Found(str(folder.resolve()), None, hash_model(folder), family)
    if entry and entry.folder:
        raise UnknownModel(f"{field} is {name!r}, but its folder {str(folder)!r} has no model_index.json.")
    source = entry.repository if entry else name
    wanted = section.revision or (entry.revision if entry else None)
    commit = wanted if _COMMIT.fullmatch(wanted or "") else (commit_of or _ask(field, cache_dir))(source, wanted)
    if entry:
        return _Found(source, commit, None, entry.family)
    index = _Found(source, commit, None).read(INDEX, field, cache_dir)
    return _Found(source, commit, None, class_name(field, name, index))


def _call(step: Step, section: Generate | Edit, entry: Entry | None, family: Family, catalog: Catalog) -> TaskCall:
    """How the section's task is called. Raises RecipeError where the model cannot do it."""
    calls, task = entry.calls(family) if entry else family.tasks, task_of(section)
    if task in calls:
        if isinstance(section, Edit) and section.references:
            check_references(step, section, calls[task], catalog)
        return calls[task]
    can = ", ".join(calls)
    could_edit = isinstance(section, Edit) and set(calls) - {"text-to-image"}
    hint = f" (set recipe.{step}.task to one of these: {can})" if could_edit else ""
    raise RecipeError(
        f"recipe.{step}.model is {section.model!r}, which cannot do {task}, but {can}{hint}. "
        f"Of the catalog these can do {task}: {', '.join(catalog.able(task))}."
    )


def _beside(
    step: Step,
    section: Generate | Edit,
    call: TaskCall,
    catalog: Catalog,
    commit_of: CommitOf | None,
    cache_dir: str | None,
) -> tuple[ControlnetFiles | None, IpAdapterFiles | None]:
    """The section's ControlNet and IP-Adapter. Raises RecipeError where the model generates with none."""
    for name in ("controlnet", "ip_adapter"):
        if getattr(section, name, None) is not None and not getattr(call, name):
            raise RecipeError(
                f"recipe.{step}.{name} is given, but {section.model!r} generates with none. Of the catalog these do: "
                f"{', '.join(catalog.takes(name))}."
            )
    if not isinstance(section, Generate):
        return None, None
    field, controlnet, ip_adapter = f"recipe.{step}", section.controlnet, section.ip_adapter
    if controlnet:
        ask = commit_of or _ask(f"{field}.controlnet.model", cache_dir)
        controlnet = find_controlnet(f"{field}.controlnet", controlnet, call.controlnet.part, ask, cache_dir)
    if ip_adapter:
        if section.memory.attention_slicing:
            raise RecipeError(
                f"{field}.memory.attention_slicing is true, which leaves no place for {field}.ip_adapter: "
                "leave one of them out."
            )
        ask = commit_of or _ask(f"{field}.ip_adapter.model", cache_dir)
        ip_adapter = find_ip_adapter(f"{field}.ip_adapter", ip_adapter, ask)
    return controlnet, ip_adapter


def _ask(field: str, cache_dir: str | None) -> CommitOf:
    def commit_of(repository: str, revision: str | None) -> str:
        from imagemill.models.hub import resolve_commit

        return resolve_commit(field, repository, revision, cache_dir)

    return commit_of


def licences(specs: Mapping[Step, ModelSpec]) -> list[str]:
    """The models' licences, in the order of the steps, each with what it says of images."""
    return [
        spec.licence if spec.outputs == "unknown" else f"{spec.licence} ({spec.outputs})" for spec in specs.values()
    ]
