"""Shared set-up of the benchmarks without a real model: a stand-in for it, a Prefect server, one worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

BUILD = """
import json, resource, sys, time
from imagemill.data.config.load import load_recipe
from imagemill.flows.build_dataset import build_dataset
from imagemill.tasks.runner.gpu_task_runner import GpuTaskRunner

recipe, cluster = json.loads(sys.argv[1]), sys.argv[2]
flow = build_dataset.with_options(task_runner=GpuTaskRunner(address=cluster))
recipe, busy = load_recipe(recipe), time.process_time()
figures = flow(recipe)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(json.dumps({**figures, "flow_s": time.process_time() - busy, "peak": peak}))
"""


@dataclass(frozen=True, slots=True)
class Bench:
    """A running Prefect server, one worker with all cores, a prompts file, and a folder for datasets."""

    folder: Path
    prompts: str
    cluster: str


def build(recipe: dict[str, Any], cluster: str) -> dict[str, Any]:
    """Build the recipe in a child process, on the cluster, and return the run's figures.

    They include ``flow_s``, the child's processor time from the start of the flow, and ``peak``, its memory in MiB.
    """
    return child(BUILD, json.dumps(recipe), cluster)


def child(code: str, *arguments: str) -> dict[str, Any]:
    """Run the code in a child process and return the JSON of its last line."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


@contextmanager
def bench(stand_in: str, rows: int) -> Iterator[Bench]:
    """Set up a bench whose worker uses a pipeline of benchmarks.stand_in, and whose prompts file has ``rows`` rows."""
    sys.path.insert(0, str(ROOT))
    os.environ |= {
        # Workers import nothing from the working directory, but must find the stand-in.
        "PYTHONPATH": str(ROOT),
        "IMAGEMILL_PIPELINE": f"benchmarks.stand_in:{stand_in}",
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
    }
    from benchmarks.shared_cluster import shared_cluster
    from benchmarks.startup import server

    with tempfile.TemporaryDirectory() as name, server(Path(name)) as address, shared_cluster(1) as cluster:
        os.environ["PREFECT_API_URL"] = address
        prompts = Path(name) / "prompts.txt"
        prompts.write_text("".join(f"a photo of thing number {number}\n" for number in range(rows)))
        yield Bench(Path(name), str(prompts), cluster)
