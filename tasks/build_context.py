"""Context of one build, shared by all its tasks: the recipe, the folder, the columns and the models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field as dataclass_field

from imagemill.data.config.chain import chain_of
from imagemill.data.config.judging.judged import is_judged
from imagemill.data.config.recipe import Recipe
from imagemill.data.config.step_models import base_step, model_links
from imagemill.data.config.steps import Edit, Generate
from imagemill.data.dataset.carried.begun_with import pin_columns
from imagemill.data.dataset.files.area import DATA, REJECTED, AreaName
from imagemill.data.dataset.files.compaction import finish_merge
from imagemill.data.dataset.files.placing import was_judged
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.manifest import known_failures
from imagemill.data.dataset.rows import encodings_of
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.errors import RecipeError
from imagemill.data.images.codec import Encoding
from imagemill.data.messages import shown
from imagemill.data.planning.judging.judge import Judge
from imagemill.data.planning.judging.outcomes import outcome_columns
from imagemill.data.planning.loaded import Loaded
from imagemill.data.planning.plan import schema_of
from imagemill.data.planning.worklist import Worklist
from imagemill.data.records import Drawing, Failure, ModelFacts, RowPlan
from imagemill.data.scores.records import Score, ScoreRequest
from imagemill.models.ask_job import AskJob
from imagemill.models.catalog.api_key import check_key
from imagemill.models.catalog.api_spec import refuse_api, resolve_api
from imagemill.models.catalog.capabilities import check_settings, check_sweep
from imagemill.models.catalog.entries import read_catalog
from imagemill.models.catalog.resolve import Resolver
from imagemill.models.catalog.scorers.chat import ChatScorerSpec
from imagemill.models.catalog.scorers.resolve import AnyScorer, duplicates_scorer, resolve_scorers
from imagemill.models.catalog.scorers.spec import ScorerSpec
from imagemill.models.catalog.spec import Model, Step
from imagemill.models.drawing.measure_registry import measures_of
from imagemill.models.job import Job
from imagemill.models.score_job import ScoreJob
from imagemill.tasks.pinned import locator

MAX_AUTO_BATCH = 64
"""Largest batch that `batch_size: auto` tries."""


@dataclass(frozen=True, slots=True)
class Build:
    """One build of one dataset, with every seed, commit and model pinned."""

    recipe: Recipe
    models: Mapping[Step, Model]
    schema: DatasetSchema
    first_file: int
    """Number of the Parquet file that shard 0 becomes."""
    retry_set_aside: bool = False
    """True if rows that an earlier build set aside are tried again."""
    first_rejected: int = 0
    """The same for its file in rejected/."""
    scorers: Mapping[str, AnyScorer] = dataclass_field(default_factory=dict)
    """Name -> scorer, of those that read images."""
    is_judged: bool = False
    """True if rows are chosen, scored or placed (data.planning.judging)."""

    def first_file_of(self, area: AreaName) -> int:
        """Number of the file in an area that shard 0 becomes."""
        return self.first_file if area == DATA else self.first_rejected

    @property
    def folder(self) -> Folder:
        """The dataset's folder."""
        return Folder(self.recipe.output)

    @property
    def facts(self) -> dict[Step, ModelFacts]:
        """Facts about each model, for planning and the dataset's files."""
        return {step: spec.facts() for step, spec in self.models.items()}

    def turns(self, rows: list[RowPlan]) -> Iterator[tuple[Step, int]]:
        """The steps of a shard in order: (step, turn from 1); a multi-turn edit appears once per turn."""
        for step in self.models:
            for turn in range(1, max((row.steps.count(step) for row in rows), default=0) + 1):
                yield step, turn

    def job(self, step: Step, turn: int, rows: list[RowPlan], without: Mapping[str, Failure]) -> Job:
        """A worker's job for one step of a shard. ``without``: image key -> failure; what builds on one is left out."""
        drawings = {}
        for row in rows:
            if row.steps.count(step) >= turn:
                position = row.steps.index(step) + turn - 1
                if not any(drawing.key in without for drawing in row.drawings[:position]):
                    drawings[row.drawings[position].key] = row.drawings[position]
        encodings = encodings_of(rows, self.schema)
        return self.step_job(step, tuple(drawings.values()), {key: encodings[key] for key in drawings})

    def step_job(self, step: Step, drawings: tuple[Drawing, ...], encodings: Mapping[str, tuple[Encoding, ...]]) -> Job:
        """A worker's job for these images of one step. ``encodings``: image key -> those to stage it in."""
        section = next(link.section for link in chain_of(self.recipe) if link.name == base_step(step))
        max_batch = MAX_AUTO_BATCH if section.batch_size == "auto" else section.batch_size
        return Job(
            spec=self.models[step],
            drawings=drawings,
            encodings=encodings,
            batch_size=min(max_batch, self.models[step].limits.max_batch or max_batch),
            finds_batch_size=section.batch_size == "auto",
            checks=frozenset(name for name, is_on in self.recipe.checks.model_dump().items() if is_on),
            staging=str(self.folder.staged.absolute()),
            on_oom=self.recipe.on_oom,
            batch_timeout=self.recipe.batch_timeout,
            max_resident=self.recipe.max_resident,
            allow_hosts=tuple(self.recipe.images.allow_hosts),
            measures=self.schema.settings_of(base_step(step)),
        )

    def score_job(self, requests: Mapping[str, Sequence[ScoreRequest]], known: Mapping[str, Score]) -> ScoreJob | None:
        """A worker's job for the scores of a shard; None if none is a worker's. ``requests``: scorer -> its images."""
        scorers = []
        for name, found in requests.items():
            spec = self.scorers[name]
            if isinstance(spec, ScorerSpec):
                scorers.append((spec, tuple(found)))
        if not scorers:
            return None
        return ScoreJob(
            scorers=tuple(scorers),
            staging=str(self.folder.staged.absolute()),
            journal=str(self.folder.score_journal.absolute()),
            known=known,
            max_resident=self.recipe.max_resident,
            on_oom=self.recipe.on_oom,
            batch_timeout=self.recipe.batch_timeout,
        )

    def ask_job(self, requests: Mapping[str, Sequence[ScoreRequest]], known: Mapping[str, Score]) -> AskJob:
        """The questions of a shard to language models. ``requests``: as in ``score_job``."""
        scorers = []
        for name, found in requests.items():
            spec = self.scorers[name]
            if isinstance(spec, ChatScorerSpec):
                scorers.append((spec, tuple(found)))
        folder = self.folder
        return AskJob(tuple(scorers), str(folder.staged.absolute()), str(folder.score_journal.absolute()), known)

    def judge(self, worklist: Worklist) -> Judge:
        """The judge of this build's rows."""
        failures = {} if self.retry_set_aside else known_failures(self.folder)
        facts = {name: spec.facts() for name, spec in self.scorers.items()}
        return Judge(self.recipe, self.schema, self.facts, facts, failures, worklist.connection)


def resolve_models(recipe: Recipe) -> dict[Step, Model]:
    """The exact models of a recipe. Touches nothing; raises RecipeError.

    Versions that the folder has pinned are taken from there.
    """
    for number, asking in enumerate(recipe.llm):
        check_key(f"llm.{number}.api", asking.api)
    resolver = Resolver(read_catalog(recipe.models_file), locator(recipe.cache_dir, recipe.output))
    models: dict[Step, Model] = {}
    for step, field, section in model_links(recipe):
        if section.backend == "openai":
            models[step] = resolve_api(field, section)
            continue
        refuse_api(field, section)
        with _naming_the_sweep(recipe, step, section):
            spec = models[step] = resolver.resolve(field, section)
            check_settings(field, section, spec)
    first = base_step(next(iter(models), ""))
    for step, model in models.items():
        if recipe.sweep and base_step(step) == first:
            check_sweep(recipe.sweep, model)
    return models


@contextmanager
def _naming_the_sweep(recipe: Recipe, step: Step, section: Generate | Edit) -> Iterator[None]:
    """Say in an error about one of the swept models where the recipe has it."""
    try:
        yield
    except RecipeError as error:
        if recipe.sweep is None or base_step(step) == step:
            raise
        place = recipe.sweep.model.index(section.model)
        raise type(error)(f"{error} (With the model of recipe.sweep.model.{place}, {shown(section.model)}.)") from error


def resolve_recipe_scorers(recipe: Recipe) -> dict[str, AnyScorer]:
    """The exact scorers of a recipe, by their names. Touches nothing; raises RecipeError.

    Versions that the folder has pinned are taken from there.
    """
    scorers = resolve_scorers(recipe, locator(recipe.cache_dir, recipe.output), read_catalog(recipe.models_file))
    by = duplicates_scorer(recipe, scorers)
    return scorers if by is None else {**scorers, by.name: by}


def make_build(
    recipe: Recipe,
    models: Mapping[Step, Model],
    loaded: Loaded,
    retry_set_aside: bool = False,
    scorers: Mapping[str, AnyScorer] | None = None,
) -> Build:
    """The build of a pinned recipe in a locked folder. Removes damaged files, whose rows are generated again.

    Pins the types of the carried columns.
    """
    folder, scorers = Folder(recipe.output), scorers or {}
    finish_merge(folder)
    numbers = {}
    for area in folder.areas:
        files, damaged = area.committed()
        for path in damaged:
            area.remove(path.name)
        numbers[area.name] = max((file.number for file in files), default=-1) + 1
    judged = is_judged(recipe) or was_judged(folder)
    outcomes = outcome_columns(recipe, {name: spec.facts() for name, spec in scorers.items()}) if judged else ()
    schema = schema_of(recipe, loaded, measures_of, outcomes)
    pin_columns(folder, schema, loaded.begun)
    return Build(
        recipe,
        models,
        schema,
        numbers[DATA],
        retry_set_aside,
        first_rejected=numbers[REJECTED],
        scorers=scorers,
        is_judged=judged,
    )
