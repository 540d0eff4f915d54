"""Resolution of the scorers that a recipe names: files, head and settings of each, known exactly.

Imports no torch, so that a plan, or a build that has nothing to score, never waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from imagemill.data.config.judging.chat import ChatScorer
from imagemill.data.config.judging.scorers import (
    ClassifyScorer,
    FormulaScorer,
    HeadScorer,
    ModelScorer,
    PixelsScorer,
    Scorer,
    SimilarityScorer,
)
from imagemill.data.config.recipe import Recipe
from imagemill.data.errors import RecipeError, UnknownModel
from imagemill.data.messages import shown
from imagemill.models.catalog.entries import Catalog
from imagemill.models.catalog.scorers.chat import ChatScorerSpec, resolve_chat
from imagemill.models.catalog.scorers.entries import ScorerEntry
from imagemill.models.catalog.scorers.files import check_folder, check_settings, read_settings
from imagemill.models.catalog.scorers.heads import find_head
from imagemill.models.catalog.scorers.spec import PHASH, ScorerSpec
from imagemill.models.catalog.source import Locator, ModelSource, check_no_revision, is_repository

AnyScorer = ScorerSpec | ChatScorerSpec


def resolve_scorers(recipe: Recipe, locator: Locator, catalog: Catalog) -> dict[str, AnyScorer]:
    """Name -> exact scorer, for all scorers of a recipe but formulas, which are calculated from the others.

    A chat scorer has a name for each field of its answers.

    Raises RecipeError and UnknownModel, naming the field.
    """
    by = recipe.duplicates.by if recipe.duplicates else None
    found: dict[str, AnyScorer] = {}
    for name, section in recipe.scorers.items():
        if isinstance(section, FormulaScorer):
            continue
        if isinstance(section, ChatScorer):
            found |= resolve_chat(name, section)
        elif isinstance(section, ModelScorer):
            found[name] = _with_model(name, section, locator, catalog, keeps_vector=name == by)
        else:
            found[name] = _without_model(name, section)
    return found


def duplicates_scorer(recipe: Recipe, scorers: Mapping[str, AnyScorer]) -> AnyScorer | None:
    """The scorer by whose hashes or vectors near-duplicates are found; None where the recipe looks for none."""
    if recipe.duplicates is None:
        return None
    return PHASH if recipe.duplicates.by == "phash" else scorers[recipe.duplicates.by]


def _without_model(name: str, section: Scorer) -> ScorerSpec:
    measure = section.measure if isinstance(section, PixelsScorer) else None
    return ScorerSpec(name, section.kind, section.reads, measure=measure)


def _with_model(name: str, section: ModelScorer, locator: Locator, catalog: Catalog, keeps_vector: bool) -> ScorerSpec:
    assert isinstance(section, SimilarityScorer | HeadScorer | ClassifyScorer), "these have a model"
    field = f"recipe.scorers.{name}"
    key = _key(section.model, catalog)
    entry = catalog.scorers[key] if key else None
    if entry and section.kind not in entry.kinds:
        raise RecipeError(
            f"{field}.model is {shown(section.model)}, which serves {' and '.join(entry.kinds)}, not {section.kind}. "
            f"Of the catalog these do: {', '.join(_serving(section.kind, catalog))}."
        )
    source = _locate(field, section, entry, locator, catalog)
    settings = None if entry and source.commit else read_settings(f"{field}.model", section.model, source, locator)
    check_settings(field, section, entry, settings)
    return ScorerSpec(
        name=name,
        kind=section.kind,
        reads=section.reads,
        model=key or (Path(source.location).name if source.files else section.model),
        source=source,
        head=find_head(field, section.head, section.head_revision, locator)
        if isinstance(section, HeadScorer)
        else None,
        dtype=section.dtype if section.dtype != "auto" else entry.dtype if entry else "float32",
        label=section.label if isinstance(section, ClassifyScorer) else None,
        against=section.against if isinstance(section, SimilarityScorer) else None,
        text=section.text if isinstance(section, SimilarityScorer) else None,
        batch_size=section.batch_size,
        licence=entry.licence if entry else "unknown",
        cache_dir=locator.cache_dir,
        keeps_vector=keeps_vector,
    )


def _serving(kind: str, catalog: Catalog) -> list[str]:
    return [name for name, entry in catalog.scorers.items() if kind in entry.kinds]


def _key(name: str, catalog: Catalog) -> str | None:
    """The catalog's key of a scorer's model; a folder of this name is meant by it, as long as it is no key."""
    if name not in catalog.scorers and Path(name).expanduser().is_dir():
        return None
    return catalog.scorer_of(name)


def _locate(
    field: str, section: ModelScorer, entry: ScorerEntry | None, locator: Locator, catalog: Catalog
) -> ModelSource:
    if entry and entry.folder:
        check_no_revision(field, section.model, section.revision)
        found: Path | ModelSource = Path(entry.folder)
    elif entry and entry.repository:
        found = locator.at_commit(f"{field}.model", entry.repository, section.revision or entry.revision)
    elif Path(section.model).expanduser().exists() or is_repository(section.model):
        found = locator.locate(field, "model", section.model, section.revision, "a folder")
    else:
        raise UnknownModel(
            f"{field}.model is {shown(section.model)}, which is neither in the catalog nor a folder nor an 'org/name' "
            f"repository. The catalog has for {section.kind}: {', '.join(_serving(section.kind, catalog))}."
        )
    if isinstance(found, ModelSource):
        return found
    check_folder(f"{field}.model", section.model, found)
    return ModelSource(str(found.resolve()), files=locator.hash_folder(found))
