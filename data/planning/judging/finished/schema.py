"""Columns of a finished dataset, as its files and its manifest have them: the prompts are not needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from imagemill.data.config.chain import edits_of, generate_of, has_masks, has_references, has_turns
from imagemill.data.config.guides import guides_of
from imagemill.data.config.judging.chat import ChatScorer
from imagemill.data.config.judging.scorers import FormulaScorer
from imagemill.data.config.recipe import Recipe
from imagemill.data.dataset.carried.arrow_kinds import ColumnKind, kind_of, type_of
from imagemill.data.dataset.carried.begun import Begun
from imagemill.data.dataset.carried.begun_with import begun_with
from imagemill.data.dataset.files.outcomes import OutcomeColumn, outcomes_in
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.measure_columns import MeasureColumn
from imagemill.data.dataset.parquet import read_schema
from imagemill.data.dataset.schema import DatasetSchema, own_columns
from imagemill.data.images.codec import LOSSLESS, Encoding
from imagemill.data.planning.judging.outcomes import outcome_columns
from imagemill.data.scores.chat_facts import chat_facts
from imagemill.data.scores.records import ScorerFacts


def stored_schema(recipe: Recipe, measures: Sequence[MeasureColumn]) -> DatasetSchema:
    """The schema of the finished dataset in the recipe's output, with the outcomes that the recipe asks for."""
    folder = Folder(recipe.output)
    begun = begun_with(folder) or Begun()
    schemas = [read_schema(folder.data / file.name) for file in reversed(folder.committed()[0])]
    columns = _columns(schemas)
    own = own_columns(measures).union([begun.other] if begun.other else [])
    names = {column: name for name, column in begun.columns.items()}
    carried: dict[str, ColumnKind] = {}
    for column, kind in columns.items():
        if column not in own:
            known = begun.kinds.get(names.get(column, ""))
            # Of a text column it says whether its values are JSON.
            carried[column] = known if known is not None and type_of(known) == kind else kind_of(kind)
    edits = bool(edits_of(recipe))
    quality = None if recipe.image_format == LOSSLESS else recipe.quality
    return DatasetSchema(
        chained=generate_of(recipe) is not None and edits,
        edits=edits,
        encoding=Encoding(recipe.image_format, quality, folder.encoding_version()),
        carried=carried,
        has_turns=has_turns(recipe),
        has_masks=has_masks(recipe),
        references=has_references(recipe),
        guides=guides_of(recipe),
        measures=tuple(measures),
        names={name: column for name, column in begun.columns.items() if column in carried},
        other=begun.other if begun.other in columns else None,
        wide_seeds="seed" in columns and columns["seed"] == pa.uint64(),
        is_given=generate_of(recipe) is None and not edits,
        outcomes=_outcomes(recipe),
    )


def _columns(schemas: Sequence[pa.Schema]) -> dict[str, Any]:
    """Column -> type, of all but the outcomes, by the names that they have beside no outcome."""
    columns: dict[str, Any] = {}
    for schema in schemas:
        outcomes = outcomes_in(schema)
        before = {stored: column for column, stored in outcomes.renamed.items()}
        for field in schema:
            if field.name not in outcomes.names:
                columns.setdefault(before.get(field.name, field.name), field.type)
    return columns


def _outcomes(recipe: Recipe) -> tuple[OutcomeColumn, ...]:
    """The outcomes: the scorers of an input depend on what they read, and not on their models."""
    facts: dict[str, ScorerFacts] = {}
    for name, scorer in recipe.scorers.items():
        if isinstance(scorer, ChatScorer):
            facts |= chat_facts(name, scorer)
        elif not isinstance(scorer, FormulaScorer):
            facts[name] = ScorerFacts(name, scorer.kind, {}, scorer.reads)
    if recipe.duplicates is not None and recipe.duplicates.by not in facts:
        facts[recipe.duplicates.by] = ScorerFacts(recipe.duplicates.by, "phash", {})
    return outcome_columns(recipe, facts)
