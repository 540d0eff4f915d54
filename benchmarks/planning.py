"""Time to load and plan a dataset that is already complete: python benchmarks/planning.py [ROWS ...]

Creates a prompts file and a finished dataset of the same rows (with one small image in all of them, since only
imagemill is measured). Loads and plans in one process, and runs a whole build, which has nothing to do, in another; a
first such build, which merges small files and writes the manifest, is not counted. Prints seconds and peak memory of
these processes, and writes planning.json.
"""

from __future__ import annotations

import hashlib
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image

from imagemill.data.config.load import load_recipe
from imagemill.data.config.recipe import Recipe
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.parquet import write_rows
from imagemill.data.planning.load_rows import load_rows
from imagemill.data.planning.plan import make_plan, schema_of
from imagemill.data.planning.row_planner import RowPlanner
from imagemill.data.planning.worklist import Worklist
from imagemill.data.records import ModelFacts
from imagemill.models.drawing.measure_registry import measures_of
from imagemill.tasks.build_context import resolve_models

ROWS = (10_000, 100_000, 1_000_000)
ROWS_A_FILE = 50_000

BUILD = """
import json, resource, sys, time
from imagemill.data.config.load import load_recipe
from imagemill.flows.build_dataset import build_dataset

started = time.perf_counter()
figures = build_dataset(load_recipe(json.loads(sys.argv[1])))
assert figures["generated"] == 0, figures
print(json.dumps({"s": time.perf_counter() - started, "kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))
"""


def fields_in(folder: Path) -> dict[str, Any]:
    """Fields of the recipe whose prompts and dataset are in ``folder``."""
    return {"prompts": str(folder / "prompts.jsonl"), "output": str(folder / "out"), "generate": {}}


def models_of(recipe: Recipe) -> dict[str, ModelFacts]:
    """Facts about the recipe's models, as planning takes them."""
    return {step: spec.facts() for step, spec in resolve_models(recipe).items()}


def image() -> bytes:
    """A small PNG."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(buffer, "PNG")
    return buffer.getvalue()


def make_dataset(folder: Path, rows: int) -> None:
    """Write a prompts file of ``rows`` lines with a label each, and the dataset that a build of it would make."""
    with open(folder / "prompts.jsonl", "w") as file:
        for number in range(rows):
            file.write(json.dumps({"prompt": f"a photo of thing number {number}", "label": number % 10}) + "\n")
    recipe = load_recipe(fields_in(folder))
    output, content = Folder(recipe.output), image()
    sha256 = hashlib.sha256(content).hexdigest()
    with output.lock(recipe.name), Worklist.create(output.plan) as worklist:
        schema = schema_of(recipe, load_rows(recipe, worklist), measures_of)
        make = RowPlanner(recipe, models_of(recipe), schema)
        keys = [(new.row_key, row.id, new.path[-1].key) for row in worklist.rows() for [new] in make.planned_rows(row)]
        for number, first in enumerate(range(0, rows, ROWS_A_FILE)):
            name = f"train-{number:05d}.parquet"
            table = (
                {"row_key": key, "id": row_id, "image_key": image, "sha256": sha256, "image": {"bytes": content}}
                for key, row_id, image in keys[first : first + ROWS_A_FILE]
            )
            output.commit(output.scratch(name), number, write_rows(output.scratch(name), schema, table))
        output.clear_work()


def plan(folder: Path) -> dict[str, Any]:
    """Load and plan in this process, and return its figures."""
    recipe = load_recipe(fields_in(folder))
    output = Folder(recipe.output)
    started = time.perf_counter()
    with Worklist.create(output.plan) as worklist:
        loaded = load_rows(recipe, worklist)
        loading = time.perf_counter() - started
        planned = make_plan(recipe, worklist, output, schema_of(recipe, loaded, measures_of), models_of(recipe), {})
    return {
        "rows": planned.rows,
        "reused": planned.reused,
        "loading_s": round(loading, 1),
        "planning_s": round(time.perf_counter() - started - loading, 1),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def run(*command: str) -> dict[str, Any]:
    """Run Python in a child process and return the JSON of its last line."""
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure each size."""
    figures = []
    print("     rows    reused  loading s  planning s  peak MiB  whole build s  peak MiB")
    for rows in [int(size) for size in sys.argv[1:]] or ROWS:
        with tempfile.TemporaryDirectory() as folder:
            make_dataset(Path(folder), rows)
            measured = run(__file__, "--plan", folder)
            recipe = json.dumps(fields_in(Path(folder)))
            run("-c", BUILD, recipe)
            build = run("-c", BUILD, recipe)
        measured |= {"build_s": round(build["s"], 1), "build_peak_mib": build["kb"] // 1024}
        figures.append(measured)
        columns = "{rows:9,} {reused:9,} {loading_s:10} {planning_s:11} {peak_mib:9} {build_s:14} {build_peak_mib:9}"
        print(columns.format(**measured), flush=True)
    Path("planning.json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--plan"]:
        print(json.dumps(plan(Path(sys.argv[2]))))
    else:
        main()
