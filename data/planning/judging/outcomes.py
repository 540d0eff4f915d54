"""Outcomes of judging as columns: candidate, split and scores, and in rejected/ the reasons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagemill.data.config.chain import chain_of, edits_of, has_turns
from imagemill.data.config.judging.judged import rules_of
from imagemill.data.config.judging.splits import REST, Splits
from imagemill.data.config.recipe import Recipe
from imagemill.data.config.step_models import base_step
from imagemill.data.dataset.files.inverse import INVERSE
from imagemill.data.dataset.files.outcomes import OutcomeColumn
from imagemill.data.identity import digest
from imagemill.data.planning.judging.inverses import Inverses
from imagemill.data.planning.judging.looks import Leaf
from imagemill.data.planning.judging.placements import Placed
from imagemill.data.planning.judging.scoring import Scoring
from imagemill.data.prompts.row import Row
from imagemill.data.scores.records import ScorerFacts
from imagemill.data.scores.selection import is_within
from imagemill.data.scores.splits import group_of, split_of


class Outcomes:
    """The outcome columns of one recipe, and their values."""

    def __init__(self, recipe: Recipe, scoring: Scoring) -> None:
        self._recipe, self._scoring = recipe, scoring
        self._splits = recipe.splits
        chained = len(chain_of(recipe)) > 1 or has_turns(recipe)
        edit_only = {facts.name for facts in scoring.facts.values()} - {f.name for f in scoring.looking(is_edit=False)}
        # Of the input of a first edit, a scorer of edits has nothing to say.
        self._of_input = (
            [name for name in scoring.names if has_turns(recipe) or name not in edit_only] if chained else []
        )
        self._has_candidate = any(link.section.select is not None for link in chain_of(recipe))
        self._has_candidate |= any(link.section.images_per_instruction > 1 for link in edits_of(recipe))
        self._inverses = Inverses(recipe)
        self._duplicates, self._rules = recipe.duplicates, rules_of(recipe)

    def columns(self) -> tuple[OutcomeColumn, ...]:
        """The columns of data/ that the recipe asks for."""
        columns = [OutcomeColumn("candidate", "int")] if self._has_candidate else []
        columns += [OutcomeColumn("split", "str")] if self._splits else []
        columns += [INVERSE] if self._inverses.are_wanted else []
        columns += [OutcomeColumn(f"score_{name}", "float32") for name in self._scoring.names]
        columns += [OutcomeColumn(name, "str") for name in self._scoring.text_names]
        return (*columns, *(OutcomeColumn(f"input_score_{name}", "float32") for name in self._of_input))

    def place(self, number: int, leaf: Leaf) -> Placed:
        """The place of a row, with its outcomes. ``number``: of its prompts-file row."""
        look, row = leaf.look, leaf.look.planned.row
        split = _split(self._splits, row, leaf)
        values: dict[str, Any] = {"candidate": look.number} if self._has_candidate else {}
        if self._splits:
            values["split"] = split
        if self._inverses.are_wanted:
            values[INVERSE.name] = False
        # An image that is the input of edits that were not made has scores as an input.
        own, of_input = ({}, look.scores) if leaf.is_partial else (look.scores, leaf.input_scores)
        values |= {f"score_{name}": own.get(name) for name in self._scoring.names}
        values |= {f"input_score_{name}": of_input.get(name) for name in self._of_input}
        values |= {name: None if leaf.is_partial else look.texts.get(name) for name in self._scoring.text_names}
        if leaf.rejected_at is not None:
            values |= {"rejected_at": leaf.rejected_at, "rejected_by": leaf.rejected_by}
        return Placed(
            row_key=leaf.row_key,
            number=number,
            candidate=look.number,
            area="data" if leaf.rejected_at is None else "rejected",
            split=split,
            outcomes=values,
            request=self._request(leaf),
            input=_input(row, leaf),
            image_key=look.key,
            source=digest([row.file, row.line, row.prompt]) if self._can_be_paired(leaf) else None,
            group=_group(row, leaf),
            passed=self._passes(leaf),
            inverse=self._inverses.instruction(leaf),
        )

    def _can_be_paired(self, leaf: Leaf) -> bool:
        """True if the row has an image to compare: not in a rejected/ without images."""
        is_there = leaf.look.image is not None and leaf.look.image.exists
        has_place = leaf.rejected_at is None or self._recipe.rejected == "keep"
        return self._recipe.pairs is not None and is_there and has_place and not leaf.is_partial

    def _passes(self, leaf: Leaf) -> bool:
        rule = self._rules[base_step(leaf.look.planned.path[-1].step)]
        scores = leaf.look.scores
        return all(
            (score := scores.get(name)) is not None and is_within(bounds, score) for name, bounds in rule.where.items()
        )

    def _request(self, leaf: Leaf) -> str | None:
        """The request whose answer has the hash or the vector that near-duplicates are found by."""
        if self._duplicates is None or leaf.rejected_at is not None or leaf.look.seen is None:
            return None
        facts = self._scoring.facts[self._duplicates.by]
        return self._scoring.request(facts, leaf.look.seen)


def outcome_columns(recipe: Recipe, scorers: Mapping[str, ScorerFacts]) -> tuple[OutcomeColumn, ...]:
    """The outcome columns of data/ that a recipe asks for."""
    return Outcomes(recipe, Scoring(recipe, scorers)).columns()


def _split(splits: Splits | None, row: Row, leaf: Leaf) -> str:
    if splits is None:
        return REST
    return split_of(splits, group_of(splits.by, row.prompt, row.image_hash, leaf.look.planned.path[0].key, row.carried))


def _group(row: Row, leaf: Leaf) -> str:
    """Input and instruction, which edits share that are compared with each other."""
    path = leaf.look.planned.path
    return digest([_input(row, leaf), path[-1].fields["prompt"]]) if path[-1].step.startswith("edit") else ""


def _input(row: Row, leaf: Leaf) -> str | None:
    path = leaf.look.planned.path
    return path[-2].key if len(path) > 1 else row.image_hash
