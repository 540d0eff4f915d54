"""What every task of one build has in common: the recipe, the folder, the columns and the models."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from imagemill.data.config.chain import chain_of, with_sections
from imagemill.data.config.recipe import Recipe
from imagemill.data.config.steps import Edit, Generate
from imagemill.data.dataset.compaction import finish_merge
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.rows import encodings_of
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.identity import MAX_SEED
from imagemill.data.planning.plan import schema_of
from imagemill.data.prompts.hub import is_on_hub, pin_prompts
from imagemill.data.records import Failure, Loaded, ModelFacts, RowPlan
from imagemill.models.catalog.api_spec import refuse_api, resolve_api
from imagemill.models.catalog.capabilities import check_settings, check_sweep
from imagemill.models.catalog.entries import read_catalog
from imagemill.models.catalog.resolve import Resolver
from imagemill.models.catalog.source import Locator
from imagemill.models.catalog.spec import Model, Step
from imagemill.models.drawing.measure_registry import measures_of
from imagemill.models.job import Job

MAX_AUTO_BATCH = 64
"""Largest batch that `batch_size: auto` tries."""


@dataclass(frozen=True, slots=True)
class Build:
    """One build of one dataset. Its seeds are picked at random and its models resolved."""

    recipe: Recipe
    models: Mapping[Step, Model]
    schema: DatasetSchema
    first_file: int
    """Number of the Parquet file that shard 0 becomes."""
    retry_set_aside: bool = False
    """Whether rows are tried again that a build before has set aside."""

    @property
    def folder(self) -> Folder:
        """The dataset's folder."""
        return Folder(self.recipe.output)

    @property
    def facts(self) -> dict[Step, ModelFacts]:
        """What planning and the files say of each model."""
        return {step: spec.facts() for step, spec in self.models.items()}

    def turns(self, items: list[RowPlan]) -> Iterator[tuple[Step, int]]:
        """The steps that a shard goes through, in order; one of several turns is there once a turn, from 1."""
        for link in chain_of(self.recipe):
            for turn in range(1, max((item.steps.count(link.name) for item in items), default=0) + 1):
                yield link.name, turn

    def job(self, step: Step, turn: int, items: list[RowPlan], without: Mapping[str, Failure]) -> Job:
        """What a worker has to draw for one step of a shard. ``without`` are keys of images that failed."""
        drawings = {}
        for item in items:
            if item.steps.count(step) >= turn:
                place = item.steps.index(step) + turn - 1
                if not any(drawing.key in without for drawing in item.drawings[:place]):
                    drawings[item.drawings[place].key] = item.drawings[place]
        section = next(link.section for link in chain_of(self.recipe) if link.name == step)
        encodings = encodings_of(items, self.schema)
        asked = MAX_AUTO_BATCH if section.batch_size == "auto" else section.batch_size
        return Job(
            spec=self.models[step],
            drawings=tuple(drawings.values()),
            encodings={key: encodings[key] for key in drawings},
            batch_size=min(asked, self.models[step].limits.max_batch or asked),
            finds_batch_size=section.batch_size == "auto",
            checks=frozenset(name for name, is_on in self.recipe.checks.model_dump().items() if is_on),
            staging=str(self.folder.staged.absolute()),
            on_oom=self.recipe.on_oom,
            batch_timeout=self.recipe.batch_timeout,
            max_resident=self.recipe.max_resident,
            measures=self.schema.settings_of(step),
        )


def resolve_models(recipe: Recipe) -> dict[Step, Model]:
    """The exact models of a recipe. Touches nothing; raises RecipeError.

    Commits that the folder has pinned are taken from there.
    """
    pinned = Folder(recipe.output).pinned()
    resolver = Resolver(read_catalog(recipe.models_file), Locator(recipe.cache_dir, pinned))
    models: dict[Step, Model] = {}
    for step, field, section in chain_of(recipe):
        if section.backend == "openai":
            models[step] = resolve_api(field, section)
            continue
        refuse_api(field, section)
        spec = models[step] = resolver.resolve(field, section)
        check_settings(field, section, spec)
    if recipe.sweep:
        check_sweep(recipe.sweep, next(iter(models.values())))
    return models


def pin_recipe(recipe: Recipe, models: Mapping[Step, Model], pin: Callable[..., Any] | None = None) -> Recipe:
    """The recipe with seeds in place of -1, and prompts on the Hub pinned to a commit.

    These and the models' commits are recorded.

    ``pin`` records a decision; by default in the recipe's folder (Folder.pin), which must then be held.
    """
    pin = pin or Folder(recipe.output).pin
    changes: dict[Step, Generate | Edit] = {}
    for step, _, section in chain_of(recipe):
        for source in models[step].sources:
            if source.commit:
                pin(source.pin, _always(source.commit))
        if section.seed == -1:
            seed = pin(f"{step}.seed", lambda: secrets.randbelow(MAX_SEED + 1))
            changes[step] = section.model_copy(update={"seed": seed})
    recipe = with_sections(recipe, changes)
    if recipe.prompt_truncated is None:
        # A dataset from before there was such a column keeps its rows as they are.
        is_new = pin("prompt_truncated", lambda: not Folder(recipe.output).committed()[0])
        recipe = recipe.model_copy(update={"prompt_truncated": is_new})
    if is_on_hub(recipe.prompts):
        recipe = recipe.model_copy(update={"prompts": pin(recipe.prompts, lambda: pin_prompts(recipe.prompts))})
    return recipe


def _always(value: Any) -> Callable[[], Any]:
    return lambda: value


def make_build(recipe: Recipe, models: Mapping[Step, Model], loaded: Loaded, retry_set_aside: bool = False) -> Build:
    """The build of a settled recipe over a folder that is held. Damaged files go: their rows are regenerated."""
    folder = Folder(recipe.output)
    finish_merge(folder)
    files, damaged = folder.committed()
    for path in damaged:
        folder.remove(path.name)
    first = max((file.number for file in files), default=-1) + 1
    return Build(recipe, models, schema_of(recipe, loaded, measures_of), first, retry_set_aside)
