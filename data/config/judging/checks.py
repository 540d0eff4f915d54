"""Checks of a recipe's judging as a whole: every score that it names exists, and has an input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from imagemill.data.config.judging.chat import ChatScorer
from imagemill.data.config.judging.duplicates import PHASH
from imagemill.data.config.judging.scorer import Reads
from imagemill.data.config.judging.scorers import FormulaScorer, Scorer, formulas_in_order, score_names, scorer_of
from imagemill.data.config.judging.select import Selecting, rule_of
from imagemill.data.config.steps import Edit, Generate
from imagemill.data.messages import shown

if TYPE_CHECKING:
    from imagemill.data.config.recipe import Recipe


def check_judging(recipe: Recipe, sections: Mapping[str, Generate | Edit]) -> None:
    """Raise ValueError for a name without a scorer, and for a scorer without an input.

    ``sections``: place in the recipe -> the section of each step, in order.
    """
    scorers = recipe.scorers
    _check_columns(scorers)
    _check_names(recipe, sections)
    formulas_in_order(scorers)
    edits = [section for section in sections.values() if isinstance(section, Edit)]
    inpaints = any(edit.task == "inpaint" for edit in edits)
    for name, scorer in scorers.items():
        if _is_of_edits(scorer) and not edits:
            what = "compares an edit with its input" if "source" in scorer.reads else "judges edits"
            raise ValueError(
                f"scorers.{name} {what}, but the recipe edits nothing: add an 'edit' section, or take out "
                f"scorers.{name}"
            )
        if "mask" in scorer.reads and not inpaints:
            raise ValueError(
                f"scorers.{name} measures what changed outside a mask, but no edit has the task inpaint: set edit.task "
                f"to inpaint, or take out scorers.{name}"
            )
    for place, section in _selecting(recipe, sections):
        _refuse_unseen(place, section, scorers)


def _is_of_edits(scorer: Scorer) -> bool:
    return scorer.is_of_edits if isinstance(scorer, ChatScorer) else "source" in scorer.reads


def _check_columns(scorers: Mapping[str, Scorer]) -> None:
    """Refuse two scorers of which a score or a text would have one name."""
    owners: dict[str, str] = {}
    for name, scorer in scorers.items():
        texts = scorer.texts(name) if isinstance(scorer, ChatScorer) else ()
        for column in (*scorer.scores(name), *texts):
            if column in owners:
                raise ValueError(
                    f"scorers.{name} and scorers.{owners[column]} both give {shown(column)}: give one of them another "
                    "name"
                )
            owners[column] = name


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
            if missing or (_is_of_edits(scorers[name]) and "source" in unseen):
                what = "an inpainted image with its mask" if missing == {"mask"} else "an edit with its input"
                through = "" if name == named else f", which scorers.{named} reads,"
                raise ValueError(
                    f"{place}.select names {shown(named)}, but scorers.{name}{through} compares {what}, and this step "
                    f"has none: name another scorer, or name it in the select of an edit that has one"
                )


def _operands(name: str, scorers: Mapping[str, Scorer]) -> Iterator[str]:
    """The scorers that a score comes from: its own, or all that a formula reads."""
    owner = scorer_of(scorers, name)
    scorer = scorers[owner] if owner is not None else None
    if isinstance(scorer, FormulaScorer):
        for operand in sorted(scorer.formula.names):
            yield from _operands(operand, scorers)
    elif owner is not None:
        yield owner
