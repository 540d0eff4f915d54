"""Recipe for scoring a finished dataset: that of its manifest, with the scorers of the user's recipe.

The dataset's own rules stay as they are, and choose nothing again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagemill.data.config.judging.judged import rules_of
from imagemill.data.config.judging.scorers import FormulaScorer, Scorer
from imagemill.data.config.load import parse_recipe, read_yaml, set_field
from imagemill.data.config.recipe import Recipe
from imagemill.data.config.shipped import find_recipe
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.published import restore_paths
from imagemill.data.dataset.reader import current_recipe, read_paths
from imagemill.data.errors import OutputError, RecipeError
from imagemill.data.messages import shown, shown_path
from imagemill.data.scores.listing import listed_scorers
from imagemill.data.scores.records import ScorerFacts

_OWN = ("models_file", "cache_dir", "on_oom", "max_resident", "batch_timeout", "max_set_aside")
"""Fields that are taken from the user's recipe too: where the models are, and how they run."""


@dataclass(frozen=True, slots=True)
class ScoringRecipe:
    """Dataset to score, and its scorers."""

    dataset: Recipe
    """The dataset's recipe with all scorers, its own and the user's; its output is where the dataset is now."""
    asked: Recipe
    """The same with the user's scorers alone."""


def scoring_recipe(
    folder: Folder, manifest: Mapping[str, Any], source: Mapping[str, Any] | str | Path, overrides: Mapping[str, Any]
) -> ScoringRecipe:
    """Join a finished dataset's recipe with the scorers of ``source``: a recipe, or a file with ``scorers`` alone.

    Raises RecipeError, and OutputError where the manifest's recipe cannot be used.
    """
    fields = dict(source) if isinstance(source, Mapping) else read_yaml(find_recipe(Path(source)))
    for dotted, value in overrides.items():
        set_field(fields, dotted, value)
    if not fields.get("scorers"):
        raise RecipeError(
            "the recipe has no scorers: give it some, such as 'scorers: {fits: {kind: similarity, model: "
            "bundled-clip}}'; nothing else of it is read."
        )
    if not fields.keys() <= {"scorers", *_OWN}:
        # For its faults, such as a name that is no field.
        parse_recipe(fields)
    published = restore_paths(current_recipe(manifest["recipe"]), read_paths(folder))
    # Where its models were is another's matter: they are not loaded.
    base = {name: value for name, value in published.items() if name not in _OWN} | {"output": str(folder.root)}
    try:
        parse_recipe(base)
    except RecipeError as error:
        raise OutputError(
            f"the recipe in {shown_path(folder.manifest)} cannot be used, so that nothing can be scored: {error}"
        ) from error
    asked = fields["scorers"]
    scorers = {**(base.get("scorers") or {}), **asked} if isinstance(asked, Mapping) else asked
    recipe = parse_recipe({**base, **{name: fields[name] for name in _OWN if name in fields}, "scorers": scorers})
    return ScoringRecipe(recipe, recipe.model_copy(update={"scorers": {name: recipe.scorers[name] for name in asked}}))


def check_choices(recipe: Recipe, facts: Collection[ScorerFacts], manifest: Mapping[str, Any]) -> None:
    """Raise RecipeError for a scorer that would take the place of another, by which the dataset's rows were chosen."""
    known, chosen = listed_scorers(manifest), set(_chosen_by(recipe))
    before = (manifest["recipe"].get("scorers") or {}).keys()
    for one in facts:
        if one.name in chosen and one.name in before and one.id not in known.get(one.name, [one.id]):
            raise RecipeError(
                f"scorers.{one.name} is another scorer than the one of this name, by which the dataset's images were "
                f"chosen: give it another name. Nothing was scored."
            )


def _chosen_by(recipe: Recipe) -> Iterator[str]:
    names = [name for rule in rules_of(recipe).values() for name in rule.scores]
    names += [recipe.pairs.by] if recipe.pairs else []
    names += [recipe.duplicates.by] if recipe.duplicates else []
    for name in names:
        yield from operands(name, recipe.scorers)


def operands(name: str, scorers: Mapping[str, Scorer]) -> Iterator[str]:
    """A score, and all that it is calculated from."""
    yield name
    scorer = scorers.get(name)
    if isinstance(scorer, FormulaScorer):
        for operand in sorted(scorer.formula.names):
            yield from operands(operand, scorers)


def missing_column(name: str, column: str, columns: Collection[str]) -> RecipeError:
    """The error for a scorer whose text the dataset does not have."""
    return RecipeError(
        f"scorers.{name} compares images with the text in the column {shown(column)}, which the dataset does not have: "
        f"name another in scorers.{name}.text; there is {', '.join(shown(one, 40) for one in sorted(columns)[:12])}."
    )
