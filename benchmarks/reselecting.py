"""Time to choose again among candidates that are there: python benchmarks/reselecting.py [ROWS ...]

Creates a dataset of four candidates a prompt (1 kB stand-ins for images, since only imagemill is measured) with a score
each, chosen by one threshold, and chooses by another: loading, planning, and the rewriting of the files, in one process
and without Prefect. Prints seconds, moved rows and the peak memory of the process that chooses, and writes
reselecting.json.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from imagemill.data.config.load import load_recipe
from imagemill.data.config.recipe import Recipe
from imagemill.data.dataset.files.area import AreaName
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.parquet import write_rows
from imagemill.data.planning.judging.finish import finish_judging
from imagemill.data.planning.judging.judge import Judge
from imagemill.data.planning.judging.outcomes import outcome_columns
from imagemill.data.planning.judging.plan import make_judged_plan
from imagemill.data.planning.judging.scoring import Scoring, Seen
from imagemill.data.planning.load_rows import load_rows
from imagemill.data.planning.plan import schema_of
from imagemill.data.planning.row_planner import RowPlanner
from imagemill.data.planning.worklist import Worklist
from imagemill.data.records import ModelFacts
from imagemill.data.scores.journal import ScoreJournal
from imagemill.data.scores.ledger import Ledger
from imagemill.data.scores.records import Score, ScorerFacts
from imagemill.models.drawing.measure_registry import measures_of
from imagemill.tasks.build_context import resolve_models, resolve_recipe_scorers

ROWS = (10_000, 100_000, 1_000_000)
OF = 4
ROWS_A_FILE = 50_000


def recipe_in(folder: Path, threshold: float) -> Recipe:
    """The recipe whose prompts and dataset are in ``folder``."""
    select = {"of": OF, "where": {"sharp": {"min": threshold}}}
    fields = {"prompts": str(folder / "prompts.jsonl"), "output": str(folder / "out"), "generate": {"select": select}}
    return load_recipe({**fields, "scorers": {"sharp": {"kind": "pixels", "measure": "sharpness"}}})


def facts_of(recipe: Recipe) -> tuple[dict[str, ModelFacts], dict[str, ScorerFacts]]:
    """Facts about the recipe's models and scorers."""
    models = {step: spec.facts() for step, spec in resolve_models(recipe).items()}
    return models, {name: spec.facts() for name, spec in resolve_recipe_scorers(recipe).items()}


def make_dataset(folder: Path, rows: int) -> None:
    """Write the prompts, and a dataset of ``rows`` candidates in all, half of which pass a threshold of 0.5."""
    with open(folder / "prompts.jsonl", "w") as file:
        for number in range(rows // OF):
            file.write(json.dumps({"prompt": f"a photo of thing number {number}", "label": number % 10}) + "\n")
    recipe = recipe_in(folder, 0.5)
    output, content = Folder(recipe.output), os.urandom(1000)
    sha256 = hashlib.sha256(content).hexdigest()
    models, scorers = facts_of(recipe)
    with output.lock(recipe.name), Worklist.create(output.plan) as worklist:
        schema = schema_of(recipe, load_rows(recipe, worklist), measures_of, outcome_columns(recipe, scorers))
        planner, scoring = RowPlanner(recipe, models, schema), Scoring(recipe, scorers)
        chance, kept, rejected = np.random.default_rng(0), [], []
        journal = ScoreJournal(output.score_journal)
        for row in worklist.rows():
            scores = chance.random(OF).round(4).tolist()
            passing = [number for number, score in enumerate(scores) if score >= 0.5][:1]
            written = []
            for number, score in enumerate(scores):
                planned = planner.planned_row(row, number, (planner.first_image(row, number),))
                key = planned.path[-1].key
                # Equal bytes have equal scores: each candidate counts as other bytes here.
                own = f"{sha256[:32]}{key}"
                request = scoring.request(scorers["sharp"], Seen(row, own))
                written.append(Score(scorers["sharp"].id, request, request, key, own, score))
                place = kept if number in passing else rejected
                place.append((planned.row_key, row.id, number, key, own, score))
            _later(journal, written)
        _later(journal, [], flush=True)
        write(output, "data", schema, kept, content)
        write(output, "rejected", schema.rejected(), rejected, content)
        Ledger(output).absorb(journal)
        output.clear_work()


_waiting: list[Score] = []


def _later(journal: ScoreJournal, scores: list[Score], flush: bool = False) -> None:
    _waiting.extend(scores)
    if flush or len(_waiting) > 50_000:
        journal.append(_waiting)
        _waiting.clear()


def write(output: Folder, area: AreaName, schema: Any, rows: list[tuple[Any, ...]], content: bytes) -> None:
    """Commit the rows of one area."""

    def values(part: list[tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
        for row_key, row_id, number, key, sha256, score in part:
            row = {"row_key": row_key, "id": row_id, "variant": number, "candidate": number, "image_key": key}
            yield {**row, "sha256": sha256, "score_sharp": score, "image": {"bytes": content, "path": f"{key}.png"}}

    for number, first in enumerate(range(0, len(rows), ROWS_A_FILE)):
        scratch = output.scratch(f"{area}-{number}.parquet")
        file = write_rows(scratch, schema, values(rows[first : first + ROWS_A_FILE]))
        output.area(area).commit(scratch, number, file)


def reselect(folder: Path, threshold: float) -> dict[str, Any]:
    """Choose by another threshold in this process, and return its figures."""
    recipe = recipe_in(folder, threshold)
    output = Folder(recipe.output)
    started = time.perf_counter()
    with output.lock(recipe.name):
        models, scorers = facts_of(recipe)
        with Worklist.create(output.plan) as worklist:
            loaded = load_rows(recipe, worklist)
            loading = time.perf_counter() - started
            schema = schema_of(recipe, loaded, measures_of, outcome_columns(recipe, scorers))
            judge = Judge(recipe, schema, models, scorers, {}, worklist.connection)
            plan = make_judged_plan(recipe, worklist, output, schema, judge)
            planning = time.perf_counter() - started - loading
            assert not plan.shards, "every score is in the ledger"
            settled, _ = finish_judging(recipe, output, schema, judge)
        output.clear_work()
    return {
        "candidates": plan.judging.funnel.candidates if plan.judging else 0,
        "kept": plan.rows,
        "moved": settled.moved,
        "loading_s": round(loading, 1),
        "planning_s": round(planning, 1),
        "total_s": round(time.perf_counter() - started, 1),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def main() -> None:
    """Measure each size, each in separate processes."""
    if sys.argv[1:2] in (["--make"], ["--choose"]):
        folder = Path(sys.argv[2])
        print(json.dumps(make_dataset(folder, int(sys.argv[3])) if sys.argv[1] == "--make" else reselect(folder, 0.7)))
        return
    figures = []
    for rows in [int(size) for size in sys.argv[1:]] or ROWS:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, __file__, "--make", folder, str(rows)], check=True, capture_output=True)
            done = subprocess.run(
                [sys.executable, __file__, "--choose", folder], check=True, capture_output=True, text=True
            )
            figures.append(json.loads(done.stdout.splitlines()[-1]))
            print(figures[-1], flush=True)
    Path("reselecting.json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
