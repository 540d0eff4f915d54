"""Throughput by number of workers: python benchmarks/scaling.py [--batches 64] [--seconds 0.5] [--side 64]

Builds with 1, 2 and 4 workers and a stand-in that sleeps for each batch of 8, as a GPU takes no processor time while it
generates. Workers and server are running before the clock starts, which runs from the first batch to the last. Prints
images/s, their share of the rate at which nothing but the batches would take time, and the share of time in which a
device waits between two batches (device_idle in runs.jsonl). Writes scaling.json.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from beside_the_model import build

ROOT = Path(__file__).parents[1]
BATCH = 8
WORKERS = (1, 2, 4)


def main() -> None:
    """Measure each number of workers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--workers", type=int, nargs="+", default=WORKERS)
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    os.environ |= {
        # Workers import nothing from the working directory, but must find the stand-in.
        "PYTHONPATH": str(ROOT),
        "IMAGEMILL_PIPELINE": "benchmarks.stand_in:make_sleeper",
        "IMAGEMILL_STAND_IN_SECONDS": str(options.seconds),
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
    }
    from benchmarks.shared_cluster import shared_cluster

    figures: list[dict[str, Any]] = []
    print("workers   images/s   of linear   device idle")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = options.batches * BATCH
        (folder / "prompts.txt").write_text("".join(f"a photo of thing number {number}\n" for number in range(rows)))
        (folder / "warm.txt").write_text("".join(f"thing {number}\n" for number in range(8 * BATCH)))
        for workers in options.workers:
            recipe = {"generate": {"batch_size": BATCH, "width": options.side, "height": options.side}}
            with shared_cluster(workers) as cluster:
                # First a shard for every worker, so that each has made its imports when the clock starts.
                for prompts, size in (("warm", BATCH), ("prompts", 64)):
                    paths = {"prompts": f"{folder}/{prompts}.txt", "output": f"{folder}/{prompts}-{workers}"}
                    run = build({**recipe, **paths, "shard_size": size}, cluster)
            # A worker's batches and the waits between them: the build's start and end are not counted.
            seconds = max(worker["drawing"] + worker["waiting"] for worker in run["workers"].values())
            rate = rows / seconds
            share = rate / (workers * BATCH / options.seconds)
            figure = {"workers": workers, "per_s": rate, "of_linear": share, "device_idle": run["device_idle"]}
            figures.append({key: round(value, 4) for key, value in figure.items()})
            print(f"{workers:7}{rate:13.1f}{share:12.1%}{run['device_idle']:14.1%}", flush=True)
    Path("scaling.json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
