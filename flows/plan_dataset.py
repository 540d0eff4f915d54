"""Dry run of a build: its work and estimated cost. Loads no model and only reads the output folder."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from imagemill.data.config.judging.judged import chat_scorers, is_judged
from imagemill.data.config.recipe import Recipe
from imagemill.data.dataset.files.placement import Placement
from imagemill.data.dataset.files.placing import count_moves, was_judged
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.manifest import known_failures
from imagemill.data.dataset.reader import recent_pace
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.errors import OutputError
from imagemill.data.images.codec import LOSSLESS
from imagemill.data.messages import shown_path
from imagemill.data.planning.judging.finish import pairs_of
from imagemill.data.planning.judging.inverses import places_of
from imagemill.data.planning.judging.judge import Judge
from imagemill.data.planning.judging.outcomes import outcome_columns
from imagemill.data.planning.judging.plan import make_judged_plan
from imagemill.data.planning.known_words import load_known
from imagemill.data.planning.plan import make_plan, schema_of
from imagemill.data.planning.totals import Plan
from imagemill.data.planning.worklist import Worklist
from imagemill.data.staging.store import Staging
from imagemill.data.storage.scratch import scratch_folder
from imagemill.models.catalog.spec import untried_families
from imagemill.models.drawing.measure_registry import measures_of
from imagemill.tasks.build_context import resolve_models, resolve_recipe_scorers
from imagemill.tasks.pinned import pin_recipe

MAX_REASONS = 3
"""Rows that are set aside of which the reason is returned."""

DUPLICATES = "near-duplicates are found at the end of a build: rows and moves are counted without that search"
"""Note on the plan of a recipe with ``duplicates``."""


def plan_dataset(recipe: Recipe, retry_set_aside: bool = False) -> dict[str, Any]:
    """Figures of a build of the recipe now. Needs no lock and writes nothing to the output folder.

    ``rows``, ``reused``, ``new``, ``removed`` and ``set_aside`` are rows, ``reasons`` why the first of the latter are,
    ``notes`` sentences about what the user may not have meant; ``draw`` is model -> images to generate.
    ``restored`` and ``staged`` are images that need not be generated, since the dataset or an interrupted build has
    them. ``judging`` is there for a recipe that judges: ``draw`` is then the most that its later steps can need.
    ``seconds`` and ``bytes`` (of all files; ``bytes_added``: of the new rows) are estimated from the dataset's runs and
    files, and None if it has none. Raises ImagemillError as the build would.
    """
    folder = Folder(recipe.output)
    folder.check_owner(recipe.name)
    models = resolve_models(recipe)
    scorers = {name: spec.facts() for name, spec in resolve_recipe_scorers(recipe).items()}
    recipe = pin_recipe(recipe, models, _read_only_pin(folder))
    facts = {step: spec.facts() for step, spec in models.items()}
    failures = {} if retry_set_aside else known_failures(folder)
    judged = is_judged(recipe) or was_judged(folder)
    try:
        files, damaged = folder.committed()
        with (
            tempfile.TemporaryDirectory(prefix="plan-", dir=scratch_folder()) as scratch,
            Worklist.create(Path(scratch) / "plan.sqlite") as worklist,
        ):
            loaded, asking = load_known(recipe, worklist, Path(scratch), retry_set_aside)
            recipe = recipe.model_copy(update={"on_removed": "keep"}) if loaded.unasked.rows else recipe
            schema = schema_of(recipe, loaded, measures_of, outcome_columns(recipe, scorers) if judged else ())
            judging: dict[str, Any] = {}
            if judged:
                judge = Judge(recipe, schema, facts, scorers, failures, worklist.connection)
                plan = make_judged_plan(recipe, worklist, folder, schema, judge)
                draw, to_build = dict(plan.drawings), plan.rows - plan.reused
                # Rows move to rejected/ and back, so that those of data/ now say nothing of those after the build.
                rows = plan.rows + (judge.placements.count_gone() if recipe.on_removed == "keep" else 0)
                # The files' rows include inverse rows, which are not among those of the plan.
                rows += plan.judging.inverse if plan.judging else 0
                judging = {"judging": _judging(recipe, folder, schema, judge, plan)}
            else:
                plan = make_plan(recipe, worklist, folder, schema, facts, failures)
                draw, to_build = worklist.missing(), worklist.count_planned_rows()
                rows = sum(file.rows for file in files) - plan.removed + to_build
            bad = (fault for fault in worklist.faults() if fault.counts)
            reasons = [f"line {fault.line}: {fault.reason}" for fault in islice(bad, MAX_REASONS)]
            staged = _subtract_staged(draw, worklist, folder, schema)
    except FileNotFoundError as error:
        if error.filename is None or not str(error.filename).startswith(f"{folder.root}/"):
            raise
        raise OutputError(
            f"{shown_path(error.filename)} was removed during planning: a build is changing the dataset. Plan again "
            "when it has "
            "finished."
        ) from error
    finished, size = sum(file.rows for file in files), sum(file.bytes for file in files)
    pace, row_bytes = recent_pace(folder), size / finished if finished else None
    images = sum(draw.values())
    return {
        "name": recipe.name,
        "output": recipe.output,
        "rows": rows,
        "reused": plan.reused,
        "new": to_build,
        "removed": plan.removed,
        "set_aside": loaded.set_aside + plan.set_aside,
        "reasons": reasons,
        "notes": [*plan.notes, *untried_families(models.values()), *([DUPLICATES] if recipe.duplicates else [])],
        "damaged_files": [path.name for path in damaged],
        "draw": draw,
        "images": images,
        "restored": plan.restorable,
        "staged": staged,
        "images_per_second": pace and round(pace, 3),
        "seconds": 0.0 if not images else pace and round(images / pace, 1),
        "bytes_per_row": row_bytes and round(row_bytes),
        "bytes_added": row_bytes and round(to_build * row_bytes),
        "bytes": row_bytes and round(rows * row_bytes),
        **judging,
        **asking,
    }


def _judging(recipe: Recipe, folder: Folder, schema: DatasetSchema, judge: Judge, plan: Plan) -> dict[str, Any]:
    """Rows without a further image that a judged build scores, moves or writes again."""
    assert plan.judging is not None, "the plan of a judged recipe has these totals"

    def placements(row_keys: Sequence[str]) -> Mapping[str, Placement]:
        return places_of(judge.placements, row_keys, recipe, is_planned=True)

    settled = count_moves(folder, schema, placements, recipe.rejected)
    return {
        "generate_at_least": sum(plan.judging.at_least.values()),
        "score": dict(plan.judging.to_score),
        "ask": dict(plan.judging.questions),
        "ask_costs": _costs(recipe, plan.judging.questions),
        "to_rejected": plan.judging.to_rejected,
        "from_rejected": plan.judging.from_rejected,
        "rewritten_bytes": settled.rewritten_bytes,
        "inverse": plan.judging.inverse,
        "pairs": len(pairs_of(recipe, judge)),
        "funnel": plan.judging.funnel.to_json(),
    }


def _costs(recipe: Recipe, questions: Mapping[str, int]) -> dict[str, float]:
    """Chat scorer -> what its questions cost, where the recipe says what a request does."""
    prices = {name: scorer.cost_per_request for name, scorer in chat_scorers(recipe).items()}
    return {name: round(count * price, 6) for name, count in questions.items() if (price := prices[name])}


def _read_only_pin(folder: Folder) -> Callable[..., Any]:
    """A Folder.pin that records nothing: new decisions are left to the build."""
    pinned = folder.pinned()

    def pin(name: str, decide: Callable[[], Any]) -> Any:
        return pinned[name] if name in pinned else decide()

    return pin


def _subtract_staged(draw: dict[str, int], worklist: Worklist, folder: Folder, schema: DatasetSchema) -> int:
    """Subtract the images that an interrupted build has staged from ``draw``; returns their number."""
    usable = {LOSSLESS, schema.encoding.name}
    staged = {key for key, encoding in Staging(folder.staged).names() if encoding in usable}
    count = 0
    for key in staged:
        model = worklist.model_of(key)
        if model is not None:
            draw[model] -= 1
            count += 1
    return count
