"""Cost of a build without the model: python benchmarks/build_cost.py [ROWS]

Builds ROWS (2,000 by default) images of 64x64 with a stand-in for the model that costs nothing, at shard sizes 16, 64
and 256, on one CPU worker and a running Prefect server; then builds again with nothing to do. Prints milliseconds per
row from the flow's start to its end, seconds for the build with nothing to do, and peak memory of the flow's process;
then the processor time of each process, in milliseconds per row, and Prefect's share of it. For that the same plain
functions are called once more, one after the other in one process, without Prefect and without Dask: what the flow's
process takes beyond its part of them counts as Prefect's (with its Dask client), and so does the server.
Writes build_cost.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import psutil
from beside_the_model import bench, build, child

SHARD_SIZES = (16, 64, 256)

PLAIN = """
import json, sys, time
from imagemill.data.dataset.folder import Folder
from imagemill.data.config.load import load_recipe
from imagemill.data.planning.worklist import Worklist
from imagemill.models.drawing.draw import draw
from imagemill.tasks.load_prompts import load_prompts
from imagemill.tasks.plan_shards import plan_shards
from imagemill.tasks.publish import publish
from imagemill.tasks.build_context import make_build, resolve_models
from imagemill.tasks.pinned import pin_recipe
from imagemill.tasks.write_parquet import write_parquet

recipe = load_recipe(json.loads(sys.argv[1]))
drawing, others = 0.0, time.process_time()
with Folder(recipe.output).lock(recipe.name):
    models = resolve_models(recipe)
    recipe = pin_recipe(recipe, models)
    build = make_build(recipe, models, load_prompts.fn(recipe))
    for number in range(plan_shards.fn(build).shards):
        with Worklist.open(build.folder.plan) as worklist:
            items = worklist.shard(number)
        began = time.process_time()
        report = draw(build.job("generate", 1, items, {}), lambda event: None)
        taken = time.process_time() - began
        others += taken
        # The first shard is not counted, since it loads the model: a build's worker is warm.
        drawing += 0 if report.loads else taken
        write_parquet.fn(build, number, str(number), items, report.failed)
    publish.fn(build, [], ["cpu"])
print(json.dumps({"draw_s": drawing, "rest_s": time.process_time() - others}))
"""


def busy() -> dict[str, float]:
    """Processor seconds so far of the scheduler (which is in this process), the worker and the server."""
    me = psutil.Process()
    taken = {"worker": 0.0, "server": 0.0, "scheduler": _seconds(me)}
    for process in me.children():
        taken["server" if "server" in process.cmdline() else "worker"] += sum(
            map(_seconds, (process, *process.children(recursive=True)))
        )
    return taken


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def measure(recipe: dict[str, Any], rows: int, cluster: str) -> dict[str, Any]:
    """Run a build, one with nothing to do, and the plain functions into another folder; times in ms per row."""

    def ms_per_row(seconds: float) -> float:
        return round(1000 * seconds / rows, 2)

    before = busy()
    first = build(recipe, cluster)
    taken = {process: seconds - before[process] for process, seconds in busy().items()}
    again = build(recipe, cluster)
    plain = child(PLAIN, json.dumps(recipe | {"output": f"{recipe['output']}-plain"}))
    taken = {"worker": taken.pop("worker"), "flow": first["flow_s"], **taken}
    prefect = taken["server"] + taken["flow"] - plain["rest_s"]
    return {
        "rows": rows,
        "shard_size": recipe["shard_size"],
        "ms_per_row": ms_per_row(first["seconds"]),
        "nothing_to_do_s": round(again["seconds"], 2),
        "peak_mib": first["peak"],
        "processor": {process: ms_per_row(seconds) for process, seconds in taken.items()}
        | {
            "total": ms_per_row(sum(taken.values())),
            "plain": ms_per_row(sum(plain.values())),
            "Prefect": ms_per_row(prefect),
        },
    }


def main() -> None:
    """Measure each shard size."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    figures = []
    print("shard size   ms per row   nothing to do, s   peak MiB")
    with bench("make_pipeline", rows) as ready:
        for size in (SHARD_SIZES[0], *SHARD_SIZES):
            output = f"{ready.folder}/out-{size}-{len(figures)}"
            recipe = {"prompts": ready.prompts, "output": output, "generate": {"batch_size": 16}, "shard_size": size}
            figures.append(measure(recipe, rows, ready.cluster))
            # The very first build is not counted, since it loads the worker's imports.
            if len(figures) > 1:
                line = "{shard_size:10} {ms_per_row:12} {nothing_to_do_s:18} {peak_mib:10}"
                print(line.format(**figures[-1]), flush=True)
    print("\nprocessor time, ms per row\nshard size " + "".join(f"{name:>10}" for name in figures[0]["processor"]))
    for figure in figures[1:]:
        print(f"{figure['shard_size']:10} " + "".join(f"{ms:10.2f}" for ms in figure["processor"].values()))
    Path("build_cost.json").write_text(json.dumps(figures[1:], indent=2) + "\n")


if __name__ == "__main__":
    main()
