"""Plan of a judged build: finished rows are placed, and the others packed into shards as groups.

A group is one row of the prompts file with all its candidates, and is never cut. What it needs after its first choice
is known only when that is made, so the plan has bounds for later steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from imagemill.data.config.judging.judged import GIVEN, rules_of
from imagemill.data.config.judging.select import Rule
from imagemill.data.config.recipe import Recipe
from imagemill.data.config.words.placeholders import names_in
from imagemill.data.dataset.files.outcomes import OF_REJECTED
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.errors import BadRow, BuildFailed, RecipeError
from imagemill.data.messages import shown
from imagemill.data.planning.judging.counts import funnel_of
from imagemill.data.planning.judging.inverses import Inverses
from imagemill.data.planning.judging.judge import Judge, Verdict
from imagemill.data.planning.judging.looks import Look
from imagemill.data.planning.judging.stored_index import index_dataset
from imagemill.data.planning.plan import SHARD_SIZE, close_shards
from imagemill.data.planning.plan_notes import plan_notes
from imagemill.data.planning.row_planner import RowPlanner
from imagemill.data.planning.shard_packing import ShardPacker
from imagemill.data.planning.totals import JudgingPlan, Plan
from imagemill.data.planning.worklist import Worklist
from imagemill.data.prompts.row import Row
from imagemill.data.records import SetAside
from imagemill.data.scores.funnel import Funnel
from imagemill.data.scores.records import ScorerFacts

_OUTCOMES = ("candidate", "split", *(outcome.name for outcome in OF_REJECTED))
"""Columns of outcomes that every recipe may get."""


@dataclass(slots=True)
class _Counts:
    """Sums over the rows of one plan."""

    rows: int = 0
    reused: int = 0
    set_aside: int = 0
    at_least: Counter[str] = field(default_factory=Counter)
    later: Counter[str] = field(default_factory=Counter)
    """Model -> images of later steps, at most."""
    lacking: Counter[str] = field(default_factory=Counter)
    restorable: int = 0
    funnel: Funnel = field(default_factory=Funnel)
    inverse: int = 0
    without_inverse: int = 0
    questions: Counter[str] = field(default_factory=Counter)
    """Chat scorer -> images that it is asked about, at most."""

    def add_lacking(self, look: Look) -> None:
        """Count the scorers that have not scored a candidate; a chat scorer once for all its fields."""
        self.lacking.update(facts.name for facts in look.lacking if facts.question is None)
        self.questions.update({facts.asker or "" for facts in (*look.lacking, *look.later) if facts.question})


def make_judged_plan(recipe: Recipe, worklist: Worklist, folder: Folder, schema: DatasetSchema, judge: Judge) -> Plan:
    """Place the rows that are finished, assign every other group to a shard of the worklist, and return the totals."""
    check_columns(recipe, judge, schema)
    index_dataset(judge, folder)
    counts, packer = _Counts(), ShardPacker(recipe.shard_size or SHARD_SIZE)
    rules = rules_of(recipe)
    first, inverses = next(iter(rules.values())), Inverses(recipe)
    for number, row in worklist.numbered_rows():
        try:
            row = _same_reading(judge, row)
            verdict = judge.verdict(row)
        except BadRow as error:
            counts.set_aside += 1
            worklist.add_fault(SetAside("load", row.id, row.file, row.line, str(error)))
            continue
        if row.doubt and (verdict.to_generate or _lacks_given(judge, row)):
            counts.set_aside += 1
            worklist.add_fault(_in_doubt(row, recipe))
            continue
        with_inverse, lacking = inverses.count(row)
        counts.without_inverse += lacking
        if verdict.is_finished:
            judge.placements.place(judge.outcomes.place(number, leaf) for leaf in verdict.leaves)
            counts.inverse += sum(inverses.instruction(leaf) is not None for leaf in verdict.replay.kept)
            kept = len(verdict.replay.kept)
            counts.funnel += funnel_of(verdict)
            counts.rows += kept
            counts.reused += kept
            for fault, is_missed in verdict.replay.failures:
                counts.set_aside += is_missed
                worklist.add_fault(fault.counted(is_missed))
            continue
        most = most_rows(judge.planner, rules, row)
        counts.rows += most
        counts.inverse += most if with_inverse else 0
        _count(counts, judge, rules, verdict)
        drawings = [(look.key, judge.planner.facts[look.planned.path[-1].step].name) for look in verdict.to_generate]
        # An image that two rows share is generated once, in one shard.
        target = next((shard for key, _ in drawings if (shard := worklist.shard_of(key)) is not None), None)
        if target is None:
            target = packer.place(judge.planner.first_steps.get(row.model, GIVEN), first.of)
        worklist.add_group(target, number, row, drawings)
    shards = close_shards(worklist, packer, [*judge.planner.facts], recipe.shard_size is None)
    images = counts.at_least + counts.later
    return Plan(
        rows=counts.rows,
        reused=counts.reused,
        removed=0 if recipe.on_removed == "keep" else judge.placements.count_gone(),
        set_aside=counts.set_aside,
        shards=shards,
        drawings=dict(sorted(images.items())),
        restorable=counts.restorable,
        notes=tuple(plan_notes(judge.planner.unused_negatives, worklist.find_float_ids(), counts.without_inverse)),
        judging=JudgingPlan(
            counts.funnel,
            dict(counts.at_least),
            dict(counts.lacking),
            *judge.placements.count_moved(),
            inverse=counts.inverse,
            questions=dict(counts.questions),
        ),
    )


def _same_reading(judge: Judge, row: Row) -> Row:
    """The row as it is read; by an earlier conversion of its images if the dataset has its images by that."""
    if row.reading is None:
        return row
    before = row._replace(reading=None)
    verdict = judge.verdict(before)
    return before if any(leaf.look.image for leaf in verdict.leaves) or verdict.to_score else row


def _lacks_given(judge: Judge, row: Row) -> bool:
    """True if the dataset has none of the images that the row itself gives."""
    return judge.planner.judges_given and not judge.placements.stored(row.id)


def _in_doubt(row: Row, recipe: Recipe) -> SetAside:
    fault = SetAside("load", row.id, row.file, row.line, row.doubt or "")
    if recipe.on_bad_row == "stop":
        raise BuildFailed(f"{fault.file}, line {fault.line}: {fault.reason} (on_bad_row is 'stop').")
    return fault


def most_rows(planner: RowPlanner, rules: Mapping[str, Rule], row: Row) -> int:
    """The most rows of data/ that a row of the prompts file can become."""
    sources, rows = 1, 0
    if planner.makes_first_image:
        sources = next(iter(rules.values())).keep
        rows = 0 if planner.edits else sources
    for link in planner.edits:
        instructions = len(link.section.instructions or row.edit_prompts)
        made = sources * instructions * rules[link.name].keep
        rows += made
        sources = sources if link.section.multi_turn else made
    return rows


def _count(counts: _Counts, judge: Judge, rules: Mapping[str, Rule], verdict: Verdict) -> None:
    planner = judge.planner
    for look in verdict.to_generate:
        counts.at_least[planner.facts[look.planned.path[-1].step].name] += 1
        counts.add_lacking(look)
    for look in verdict.to_score:
        counts.add_lacking(look)
    counts.restorable += sum(bool(leaf.look.image and leaf.look.image.is_stored) for leaf in verdict.to_write)
    if verdict.replay.wanted:
        _count_later(counts, judge, rules, verdict.replay.wanted, verdict.replay.row)


def _count_later(counts: _Counts, judge: Judge, rules: Mapping[str, Rule], wanted: Sequence[Look], row: Row) -> None:
    """Bound the images of the steps after the one that is wanted now."""
    planner = judge.planner
    at_first = planner.makes_first_image and len(wanted[0].planned.path) == 1
    if not (at_first or any(link.section.multi_turn for link in planner.edits) or len(planner.edits) > 1):
        return
    sources = next(iter(rules.values())).keep if planner.makes_first_image else 1
    for link in planner.edits:
        instructions = len(link.section.instructions or row.edit_prompts)
        made = sources * instructions
        counts.later[planner.facts[planner.step_of(row, link)].name] += made * rules[link.name].of
        sources = sources if link.section.multi_turn else made * rules[link.name].keep
    if not at_first:
        # What is wanted now is among these.
        for look in wanted:
            counts.later[planner.facts[look.planned.path[-1].step].name] -= 1


def _check_question(facts: ScorerFacts, schema: DatasetSchema, texts: Collection[str]) -> None:
    """Raise RecipeError if a chat scorer asks with a column that no row has, or gives one that imagemill has."""
    for column in names_in(facts.question or ""):
        if column not in texts and schema.column_of(column) not in schema.carried:
            raise RecipeError(
                f"scorers.{facts.asker}.ask has {{{column}}}, which is no column of the prompts: there are "
                f"{', '.join(shown(name, 40) for name in sorted({*texts, *schema.carried})[:12])}; literal braces are "
                "written {{ and }}."
            )
    scores = [outcome.name for outcome in schema.outcomes if outcome.kind == "float32"]
    if facts.is_text and (facts.name in schema.own_columns or facts.name in [*scores, *_OUTCOMES]):
        raise RecipeError(
            f"scorers.{facts.asker} would give the column {facts.name!r}, which is one of imagemill's: give the scorer "
            "or its field another name."
        )


def check_columns(recipe: Recipe, judge: Judge, schema: DatasetSchema) -> None:
    """Raise RecipeError if a scorer reads a text, or the splits a column, that no row has."""
    texts = {"prompt", "edit_prompt"}
    for facts in judge.scoring.facts.values():
        if "text" not in facts.reads:
            continue
        if facts.question is not None:
            _check_question(facts, schema, texts)
            continue
        for is_edit in (False, True):
            column = judge.scoring.column(facts, is_edit)
            looks = bool(judge.planner.edits) if is_edit else judge.planner.makes_first_image
            if not looks or facts not in judge.scoring.looking(is_edit) or column in texts:
                continue
            if schema.column_of(column) not in schema.carried:
                images = "edited" if is_edit else "generated"
                raise RecipeError(
                    f"scorers.{facts.name} compares {images} images with the text in the column {column!r}, which no "
                    f"row of the prompts has: add that column, or name another in scorers.{facts.name}.text, such as "
                    "edit_prompt or prompt."
                )
    by = recipe.splits.by if recipe.splits else "prompt"
    if by not in ("prompt", "image") and schema.column_of(by) not in schema.carried:
        raise RecipeError(
            f"splits.by is {by!r}, which is no column of the prompts: name one that they have, or prompt or image."
        )
