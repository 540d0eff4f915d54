"""Checks of a recipe's judging as a whole: every score that it names exists, and looks at what there is to look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from imagemill.data.config.judging.duplicates import PHASH
from imagemill.data.config.judging.scorers import (
    FormulaScorer,
    Reads,
    Scorer,
    formulas_in_order,
    score_names,
)
from imagemill.data.config.judging.select import Selecting, rule_of
from imagemill.data.config.steps import Edit, Generate
from imagemill.data.messages import shown

if TYPE_CHECKING:
    from imagemill.data.config.recipe import Recipe


def check_judging(recipe: Recipe, sections: Mapping[str, Generate | Edit]) -> None:
    """Raise ValueError for a name without a scorer, and for a scorer that has nothing to look at.

    ``sections``: place in the recipe -> the section of each step, in order.
    """
    scorers = recipe.scorers
    _check_names(recipe, sections)
    formulas_in_order(scorers)
    edits = [section for section in sections.values() if isinstance(section, Edit)]
    inpaints = any(edit.task == "inpaint" for edit in edits)
    for name, scorer in scorers.items():
        if "source" in scorer.reads and not edits:
            raise ValueError(
                f"scorers.{name} compares an edit with its input, but the recipe edits nothing: add an 'edit' section, "
                f"or take out scorers.{name}"
            )
        if "mask" in scorer.reads and not inpaints:
            raise ValueError(
                f"scorers.{name} measures what changed outside a mask, but no edit has the task inpaint: set edit.task "
                f"to inpaint, or take out scorers.{name}"
            )
    for place, section in _selecting(recipe, sections):
        _refuse_unseen(place, section, scorers)


def _check_names(recipe: Recipe, sections: Mapping[str, Generate | Edit]) -> None:
    known = score_names(recipe.scorers)
    for field, name in _named(recipe, sections):
        if name not in known:
            there = f"the scorers are {', '.join(known)}" if known else "the recipe has no scorers"
            raise ValueError(f"{field} names the scorer {shown(name)}, which there is not: {there}")
    by = recipe.duplicates.by if recipe.duplicates else PHASH
    able = [PHASH, *(name for name, scorer in recipe.scorers.items() if scorer.embeds)]
    if by not in able:
        raise ValueError(
            f"duplicates.by is {shown(by)}, a scorer that makes no embeddings: allowed are {', '.join(able)}"
        )


def _named(recipe: Recipe, sections: Mapping[str, Generate | Edit]) -> Iterator[tuple[str, str]]:
    """(place in the recipe, score that it names)."""
    for place, section in _selecting(recipe, sections):
        if section.select is not None:
            yield from ((f"{place}.select.where", name) for name in section.select.where)
            if section.select.best is not None:
                yield f"{place}.select.best", section.select.best
    if recipe.duplicates is not None and recipe.duplicates.by != PHASH:
        yield "duplicates.by", recipe.duplicates.by
    if recipe.pairs is not None:
        yield "pairs.by", recipe.pairs.by
    for name, scorer in recipe.scorers.items():
        if isinstance(scorer, FormulaScorer):
            yield from ((f"scorers.{name}.text", operand) for operand in sorted(scorer.formula.names))


def _selecting(recipe: Recipe, sections: Mapping[str, Generate | Edit]) -> Iterator[tuple[str, Selecting]]:
    yield from sections.items()
    if recipe.given is not None:
        yield "given", recipe.given


def _refuse_unseen(place: str, section: Selecting, scorers: Mapping[str, Scorer]) -> None:
    """Refuse scores in a section's `select` that are null for every image of its step."""
    if section.select is None:
        return
    unseen: set[Reads] = {"mask"} if isinstance(section, Edit) else {"source", "mask"}
    if isinstance(section, Edit) and section.task == "inpaint":
        unseen = set()
    for named in rule_of(section).scores:
        for name in _operands(named, scorers):
            missing = scorers[name].reads & unseen
            if missing:
                what = "an edit with its input" if "source" in missing else "an inpainted image with its mask"
                through = "" if name == named else f", which scorers.{named} reads,"
                raise ValueError(
                    f"{place}.select names {shown(named)}, but scorers.{name}{through} compares {what}, and this step "
                    f"has none: name another scorer, or name it in the select of an edit that has one"
                )


def _operands(name: str, scorers: Mapping[str, Scorer]) -> Iterator[str]:
    """The scorers that a score comes from: itself, or all that a formula reads."""
    scorer = scorers.get(name)
    if isinstance(scorer, FormulaScorer):
        for operand in sorted(scorer.formula.names):
            yield from _operands(operand, scorers)
    elif scorer is not None:
        yield name
