"""What a build costs beside the model: python benchmarks/build_cost.py [ROWS]

Builds ROWS (2,000 by default) pictures of 64x64 with a stand-in for the model that costs nothing, at shard sizes 16, 64
and 256, on one CPU worker and a Prefect server that is up already; then the same again with nothing to do. Prints
milliseconds a row from the first picture to the last, seconds for the build with nothing to do, and peak memory of the
flow's process. Writes build_cost.json.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SHARD_SIZES = (16, 64, 256)

CHILD = """
import json, resource, sys, time
from data.recipe_input import load_recipe
from flows.build_dataset import build_dataset
from tasks.gpu_runner import GpuTaskRunner

recipe, cluster = json.loads(sys.argv[1]), sys.argv[2]
flow = build_dataset.with_options(task_runner=GpuTaskRunner(address=cluster))
started = time.perf_counter()
figures = flow(load_recipe(recipe))
seconds = time.perf_counter() - started
print(json.dumps({**figures, "wall": seconds, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))
"""


def build(recipe: dict[str, Any], cluster: str) -> dict[str, Any]:
    """Build in a process of its own; the run's figures."""
    command = [sys.executable, "-c", CHILD, json.dumps(recipe), cluster]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure each shard size."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    root = Path(__file__).parents[1]
    # The workers, which get this process's path, must find the stand-in.
    sys.path.insert(0, str(root))
    os.environ |= {"IMAGEMILL_PIPELINE": "benchmarks.stand_in:make_pipeline", "PREFECT_LOGGING_LEVEL": "CRITICAL"}
    from benchmarks.startup import server
    from tasks.cluster import start_cluster

    figures = []
    print("shard size   ms a row   nothing to do, s   peak MiB")
    with (
        tempfile.TemporaryDirectory() as folder,
        server(Path(folder)) as address,
        start_cluster(1, []) as cluster,
    ):
        os.environ["PREFECT_API_URL"] = address
        prompts = Path(folder) / "prompts.txt"
        prompts.write_text("".join(f"a photo of thing number {number}\n" for number in range(rows)))
        for size in (SHARD_SIZES[0], *SHARD_SIZES):
            output = f"{folder}/out-{size}-{len(figures)}"
            recipe = {"prompts": str(prompts), "output": output, "generate": {"batch_size": 16}, "shard_size": size}
            first = build(recipe, cluster.scheduler_address)
            again = build(recipe, cluster.scheduler_address)
            figures.append(
                {
                    "rows": rows,
                    "shard_size": size,
                    "ms_a_row": round(1000 * first["seconds"] / rows, 2),
                    "nothing_to_do_s": round(again["seconds"], 2),
                    "peak_mib": first["peak"],
                }
            )
            # The first of all also loads what a worker imports: it is not counted.
            if len(figures) > 1:
                line = "{shard_size:10} {ms_a_row:10} {nothing_to_do_s:18} {peak_mib:10}"
                print(line.format(**figures[-1]), flush=True)
    Path("build_cost.json").write_text(json.dumps(figures[1:], indent=2) + "\n")


if __name__ == "__main__":
    main()
