"""Tasks around the scoring of a finished dataset: what its ledger lacks, and the new scores as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import task

from imagemill.data.dataset.files.placing import Settled
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.errors import RecipeError
from imagemill.data.planning.judging.finished.plan import ScorePlan, check_whole, plan_scores
from imagemill.data.planning.judging.finished.publish import publish_scores
from imagemill.data.planning.judging.finished.recipe import ScoringRecipe, check_choices
from imagemill.data.planning.judging.finished.schema import stored_schema
from imagemill.data.planning.judging.finished.seen import Looking
from imagemill.data.planning.judging.finished.shard import StagedShard
from imagemill.data.planning.judging.scoring import Scoring
from imagemill.data.planning.worklist import Worklist
from imagemill.data.scores.journal import ScoreJournal
from imagemill.data.scores.ledger import Ledger
from imagemill.data.scores.records import ScorerFacts
from imagemill.data.storage.disk_errors import explain_disk_errors
from imagemill.models.catalog.entries import read_catalog
from imagemill.models.catalog.scorers.resolve import resolve_scorers
from imagemill.models.catalog.scorers.spec import ScorerSpec
from imagemill.models.drawing.measure_registry import measures_of
from imagemill.models.score_job import ScoreJob
from imagemill.tasks.pinned import locator
from imagemill.tasks.publish import MAX_PUBLISH_RETRIES, PUBLISH_RETRY_DELAY_S


@dataclass(frozen=True, slots=True)
class FinishedScoring:
    """The scoring of one finished dataset, whose folder is locked."""

    recipe: ScoringRecipe
    scorers: Mapping[str, ScorerSpec]
    """The user's, without formulas."""
    schema: DatasetSchema

    @classmethod
    def of(cls, recipe: ScoringRecipe, scorers: Mapping[str, ScorerSpec]) -> FinishedScoring:
        """With the columns that the dataset's files have."""
        measures = measures_of(recipe.dataset.model_dump(mode="json"))
        return cls(recipe, scorers, stored_schema(recipe.dataset, measures))

    @property
    def folder(self) -> Folder:
        """The dataset's folder."""
        return Folder(self.recipe.dataset.output)

    @property
    def worklist(self) -> Path:
        """The database of what there is to score. A build has another."""
        return self.folder.scratch("scoring.sqlite")

    @property
    def facts(self) -> Sequence[ScorerFacts]:
        """Facts about each scorer."""
        return [spec.facts() for spec in self.scorers.values()]

    def looking(self) -> Looking:
        """Columns and images that the scorers read. Raises RecipeError for a column that it does not have."""
        scoring = Scoring(self.recipe.asked, {facts.name: facts for facts in self.facts})
        return Looking.of(self.recipe.dataset, self.schema, scoring)

    def job(self, staged: StagedShard) -> ScoreJob:
        """A worker's job for one shard."""
        return ScoreJob(
            scorers=tuple((self.scorers[name], tuple(requests)) for name, requests in staged.requests.items()),
            staging=str(staged.folder.absolute()),
            journal=str(self.folder.score_journal.absolute()),
            known=staged.known,
            max_resident=self.recipe.asked.max_resident,
            on_oom=self.recipe.asked.on_oom,
            batch_timeout=self.recipe.asked.batch_timeout,
        )


def resolve_asked(recipe: ScoringRecipe) -> dict[str, ScorerSpec]:
    """The exact scorers that the user asks for, without formulas. Touches nothing; raises RecipeError."""
    asked = recipe.asked
    found = resolve_scorers(asked, locator(asked.cache_dir, asked.output), read_catalog(asked.models_file))
    scorers: dict[str, ScorerSpec] = {}
    for name, spec in found.items():
        if not isinstance(spec, ScorerSpec):
            raise RecipeError(
                f"scorers.{spec.asker} is a chat scorer, and a finished dataset is scored without language models: "
                "take it out, or add it to the dataset's recipe and build that again, which generates nothing."
            )
        scorers[name] = spec
    return scorers


@task(name="plan scores", task_run_name="plan the scores of {scoring.recipe.dataset.name}", persist_result=False)
def plan_finished(scoring: FinishedScoring, manifest: Mapping[str, Any]) -> ScorePlan:
    """Find the scores that the ledger lacks, and pack them into shards. Raises OutputError and RecipeError."""
    folder = scoring.folder
    with explain_disk_errors(folder.disk):
        check_whole(folder, manifest)
        check_choices(scoring.recipe.dataset, scoring.facts, manifest)
        looking = scoring.looking()
        # What an interrupted run has computed.
        Ledger(folder).absorb(ScoreJournal(folder.score_journal))
        with Worklist.create(scoring.worklist) as worklist:
            return plan_scores(folder, looking, worklist.connection)


@task(
    name="publish scores",
    task_run_name="publish the scores of {scoring.recipe.dataset.name}",
    retries=MAX_PUBLISH_RETRIES,
    retry_delay_seconds=PUBLISH_RETRY_DELAY_S,
    persist_result=False,
)
def publish_finished(scoring: FinishedScoring) -> tuple[dict[str, Any], Settled]:
    """Write the scores into the rows, and list them; returns the manifest and the rewritten files."""
    folder = scoring.folder
    with explain_disk_errors(folder.disk), Worklist.open(scoring.worklist) as worklist:
        return publish_scores(folder, scoring.recipe, scoring.looking(), worklist.connection, scoring.facts)
