"""A build compared with a hand-written loop: python benchmarks/build_vs_loop.py [--rows 500] [--rounds 5]

The loop calls the bundled model's pipeline batch by batch, saves each image as PNG with Pillow and writes one Parquet
file at the end. The build is imagemill's, on one worker with all cores and on one worker per core (with the same cores,
rows, batch size and steps). Start-up is not counted: models are loaded and warm, the Prefect server is running. Loop
and builds take turns within a round. Prints medians of images/s and writes build_vs_loop.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
BATCH = 16

LOOP = """
import io, json, sys, time
import pyarrow as pa, pyarrow.parquet as pq
import torch
from diffusers import FluxPipeline

prompts, folder, batch = json.load(open(sys.argv[1])), sys.argv[2], int(sys.argv[3])
pipe = FluxPipeline.from_pretrained("models/bundled/model-2")
pipe.set_progress_bar_config(disable=True)

def draw(texts, first):
    seeds = [torch.Generator().manual_seed(first + i) for i in range(len(texts))]
    return pipe(texts, width=64, height=64, num_inference_steps=4, max_sequence_length=16, generator=seeds).images

draw(prompts[:batch], 0)
started = time.perf_counter()
rows = []
for first in range(0, len(prompts), batch):
    texts = prompts[first:first + batch]
    for i, (text, image) in enumerate(zip(texts, draw(texts, first))):
        path = f"{folder}/{first + i:06d}.png"
        image.save(path)
        rows.append({"prompt": text, "image": {"bytes": open(path, "rb").read(), "path": path}})
pq.write_table(pa.Table.from_pylist(rows), f"{folder}/train.parquet")
print(json.dumps(time.perf_counter() - started))
"""

BUILD = """
import json, sys
from imagemill.data.config.load import load_recipe
from imagemill.flows.build_dataset import build_dataset
from imagemill.tasks.runner.gpu_task_runner import GpuTaskRunner

flow = build_dataset.with_options(task_runner=GpuTaskRunner(address=sys.argv[2]))
print(json.dumps(flow(load_recipe(json.loads(sys.argv[1])))["seconds"]))
"""


def child(code: str, *arguments: str) -> float:
    """Run the code in a child process and return the seconds that it prints."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        sys.exit(done.stderr)
    return float(done.stdout.splitlines()[-1])


def prompts_for(rows: int) -> list[str]:
    """Distinct prompts of the bundled model's world."""
    from imagemill.models.bundled.scenes import all_scenes

    scenes = [asdict(scene) for scene in all_scenes(held_out=False)]
    text = "a {size} {colour} {shape} on a {background} background, take {number}"
    return [text.format(**scenes[number % len(scenes)], number=number) for number in range(rows)]


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    os.environ |= {"PREFECT_LOGGING_LEVEL": "CRITICAL", "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120"}
    from distributed import SpecCluster
    from shared_cluster import may_connect

    from imagemill.tasks.runner.cluster import cores, start_cluster

    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        prompts = prompts_for(options.rows)
        (folder / "prompts.json").write_text(json.dumps(prompts))
        (folder / "prompts.txt").write_text("\n".join(prompts))
        (folder / "warm.txt").write_text("\n".join(f"a red circle {n}" for n in range(8 * BATCH)))
        outputs = iter(range(10**6))

        def loop() -> float:
            target = folder / f"loop-{next(outputs)}"
            target.mkdir()
            return child(LOOP, str(folder / "prompts.json"), str(target), str(BATCH))

        def built(cluster: SpecCluster, source: str) -> float:
            output = str(folder / f"out-{next(outputs)}")
            recipe = {"prompts": str(folder / source), "output": output, "generate": {"batch_size": BATCH}}
            with may_connect(cluster):
                return child(BUILD, json.dumps(recipe), cluster.scheduler_address)

        contenders: dict[str, Callable[[], float]] = {"the loop": loop}
        for workers in dict.fromkeys((1, cores())):
            cluster = stack.enter_context(start_cluster(workers, []))
            built(cluster, "warm.txt")
            contenders[f"build, workers: {workers}"] = lambda cluster=cluster: built(cluster, "prompts.txt")
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(options.rounds):
            for contender, run in contenders.items():
                seconds[contender].append(run())

    rates = {contender: options.rows / statistics.median(taken) for contender, taken in seconds.items()}
    print(f"{options.rows} rows, medians of {options.rounds}\n{'':22} images/s   of the loop")
    for contender, rate in rates.items():
        print(f"{contender:22} {rate:10.1f} {rate / rates['the loop']:13.2f}")
    Path("build_vs_loop.json").write_text(json.dumps({"rows": options.rows, "seconds": seconds}, indent=2) + "\n")


if __name__ == "__main__":
    main()
