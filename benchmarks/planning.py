"""How long a plan takes over a dataset that is there already: python benchmarks/planning.py [ROWS ...]

Makes a prompts file and a finished dataset of as many rows (pictures of a few bytes: only imagemill is measured), then
loads and plans in a process of its own. Prints seconds and peak memory of that process, and writes planning.json.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from data.folder import Folder
from data.parquet import write_rows
from data.planning import ItemMaker, layout_of, load_rows, make_plan
from data.recipe import Recipe
from data.recipe_input import load_recipe
from data.records import ModelFacts
from data.worklist import Worklist

ROWS = (10_000, 100_000, 1_000_000)
ROWS_A_FILE = 50_000

FACTS = {"generate": ModelFacts("stand-in", "0", {"files": "0"}, 64, 64, 8, None, 8, True)}


def recipe_in(folder: Path) -> Recipe:
    """The recipe whose prompts and dataset lie in ``folder``."""
    return load_recipe({"prompts": str(folder / "prompts.jsonl"), "output": str(folder / "out"), "generate": {}})


def make_dataset(folder: Path, rows: int) -> None:
    """A prompts file of ``rows`` lines with a label each, and the dataset that a build of it would leave."""
    with open(folder / "prompts.jsonl", "w") as file:
        for number in range(rows):
            file.write(json.dumps({"prompt": f"a photo of thing number {number}", "label": number % 10}) + "\n")
    recipe = recipe_in(folder)
    output = Folder(recipe.output)
    with output.hold(recipe.name), Worklist.create(output.plan) as worklist:
        layout = layout_of(recipe, load_rows(recipe, worklist))
        make = ItemMaker(recipe, FACTS, layout)
        keys = [(item.row_key, item.id, item.final.key) for row in worklist.rows() for [item] in make.items(row)]
        for number, first in enumerate(range(0, rows, ROWS_A_FILE)):
            name = f"train-{number:05d}.parquet"
            table = (
                {"row_key": key, "id": row_id, "image_key": image, "sha256": "00" * 32, "image": {"bytes": b"-"}}
                for key, row_id, image in keys[first : first + ROWS_A_FILE]
            )
            output.commit(output.scratch(name), name, write_rows(output.scratch(name), layout, table))
        output.clear_work()


def plan(folder: Path) -> dict[str, Any]:
    """Load and plan; the figures of this process."""
    recipe = recipe_in(folder)
    output = Folder(recipe.output)
    started = time.perf_counter()
    with Worklist.create(output.plan) as worklist:
        loaded = load_rows(recipe, worklist)
        loading = time.perf_counter() - started
        planned = make_plan(recipe, worklist, output, layout_of(recipe, loaded), FACTS, {})
    return {
        "rows": planned.rows,
        "reused": planned.reused,
        "loading_s": round(loading, 1),
        "planning_s": round(time.perf_counter() - started - loading, 1),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def main() -> None:
    """Measure each size in a process of its own."""
    figures = []
    print("     rows    reused  loading s  planning s  peak MiB")
    for rows in [int(size) for size in sys.argv[1:]] or ROWS:
        with tempfile.TemporaryDirectory() as folder:
            make_dataset(Path(folder), rows)
            command = [sys.executable, __file__, "--plan", folder]
            measured = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        figures.append(measured)
        print("{rows:9,} {reused:9,} {loading_s:10} {planning_s:11} {peak_mib:9}".format(**measured), flush=True)
    Path("planning.json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--plan"]:
        print(json.dumps(plan(Path(sys.argv[2]))))
    else:
        main()
