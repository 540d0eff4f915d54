"""Queries about a recipe's judging: whether it has any, and the rule of each step."""

from __future__ import annotations

from imagemill.data.config.chain import chain_of
from imagemill.data.config.judging.chat import ChatScorer
from imagemill.data.config.judging.given import Given
from imagemill.data.config.judging.select import Rule, rule_of
from imagemill.data.config.recipe import Recipe
from imagemill.data.config.steps import Edit

GIVEN = "given"
"""Name of the step at which the rows' own images are judged."""


def given_of(recipe: Recipe) -> Given | None:
    """The section for the rows' own images; None if the recipe generates or edits."""
    return None if chain_of(recipe) else recipe.given or Given()


def rules_of(recipe: Recipe) -> dict[str, Rule]:
    """Step name (Link.name, or ``given``) -> its rule, in the order of the steps."""
    given = given_of(recipe)
    if given is not None:
        return {GIVEN: rule_of(given)}
    return {link.name: rule_of(link.section) for link in chain_of(recipe)}


def is_judged(recipe: Recipe) -> bool:
    """True if the recipe has anything of judging. Without it, a dataset has the files and columns it always had."""
    sections = [link.section for link in chain_of(recipe)]
    return (
        not sections
        or bool(recipe.scorers)
        or any(section.select is not None for section in sections)
        or any(
            isinstance(section, Edit) and (section.images_per_instruction > 1 or section.inverse)
            for section in sections
        )
        or any(section is not None for section in (recipe.splits, recipe.duplicates, recipe.pairs, recipe.given))
        or recipe.rejected != "keep"
    )


def chat_scorers(recipe: Recipe) -> dict[str, ChatScorer]:
    """Name -> scorer, of those that ask a language model."""
    return {name: scorer for name, scorer in recipe.scorers.items() if isinstance(scorer, ChatScorer)}
