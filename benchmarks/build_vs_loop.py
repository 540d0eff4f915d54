"""Builds and hand-written loops as a user starts them: python benchmarks/build_vs_loop.py [--rows 400] [--rounds 5]

The loop loads the bundled model, calls its pipeline batch by batch, saves each image as PNG with Pillow and writes one
Parquet file. Two loops have half the rows each, also with one OpenMP thread each, which avoids that they wait for each
other. The builds are `imagemill build` with and without `--workers 1`. All are commands; they take turns. --beside adds
a busy process per core.

Per command: wall-clock seconds of the whole command; seconds until the first image is finished; images/s between the
first and the last finished batch (for two loops: the sum of both); the peak of the proportional set sizes of all its
processes, in GiB. Prints the medians, and writes all values to benchmarks/results/build_vs_loop.json (--to).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread

import psutil

ROOT = Path(__file__).parents[1]
BATCH = 8

LOOP = """
import json, sys, time
import pyarrow as pa, pyarrow.parquet as pq
import torch
from diffusers import FluxPipeline

prompts, folder, batch = json.load(open(sys.argv[1])), sys.argv[2], int(sys.argv[3])
pipe = FluxPipeline.from_pretrained(sys.argv[4])
pipe.set_progress_bar_config(disable=True)
rows, finished = [], []
for first in range(0, len(prompts), batch):
    texts = prompts[first:first + batch]
    seeds = [torch.Generator().manual_seed(first + i) for i in range(len(texts))]
    images = pipe(
        texts, width=64, height=64, num_inference_steps=4, max_sequence_length=16, generator=seeds
    ).images
    for i, (text, image) in enumerate(zip(texts, images)):
        path = f"{folder}/{first + i:06d}.png"
        image.save(path)
        rows.append({"prompt": text, "image": {"bytes": open(path, "rb").read(), "path": path}})
    finished.append((time.time(), len(texts)))
pq.write_table(pa.Table.from_pylist(rows), f"{folder}/train.parquet")
json.dump(finished, open(f"{folder}/finished.json", "w"))
"""

Finished = list[tuple[float, int]]
"""Time of each finished batch, in seconds since the epoch, and its images."""


def prompts_for(rows: int) -> list[str]:
    """Distinct prompts of the bundled model's world."""
    from imagemill.models.bundled.scenes import all_scenes

    scenes = [asdict(scene) for scene in all_scenes(held_out=False)]
    text = "a {size} {colour} {shape} on a {background} background, take {number}"
    return [text.format(**scenes[number % len(scenes)], number=number) for number in range(rows)]


@contextmanager
def busy_cores(wanted: bool) -> Iterator[None]:
    """One process per core that computes without end, meanwhile."""
    count = len(os.sched_getaffinity(0)) if wanted else 0
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


class Watch:
    """Watcher of running commands: their memory, and the batches that a build has staged."""

    def __init__(self, output: Path | None) -> None:
        self.peak_bytes = 0
        self.finished: Finished = []
        self._output = output
        self._ended = Event()
        self._threads = [Thread(target=self._sample_memory), Thread(target=self._see_batches)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End it."""
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _sample_memory(self) -> None:
        me = psutil.Process()
        while not self._ended.wait(0.5):
            total = 0
            for process in me.children(recursive=True):
                try:
                    if "while True: pass" not in process.cmdline():
                        total += process.memory_full_info().pss
                except psutil.Error:
                    continue
            self.peak_bytes = max(self.peak_bytes, total)

    def _see_batches(self) -> None:
        """Staged images lie in a file or two per batch under the output folder."""
        seen: set[Path] = set()
        while self._output is not None and not self._ended.wait(0.01):
            try:
                for path in set(self._output.glob("**/*.staged")) - seen:
                    # A file's first line lists its images.
                    with path.open("rb") as file:
                        self.finished.append((time.time(), len(json.loads(file.readline()))))
                    seen.add(path)
            except FileNotFoundError:  # The build removed a file or folder meanwhile.
                continue


def run_commands(commands: list[list[str]], folder: Path, output: Path | None, **variables: str) -> dict[str, float]:
    """Run these at the same time, with these environment variables, and return their figures."""
    watch = Watch(output)
    started = time.time()
    processes = [
        subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **variables},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for command in commands
    ]
    errors = [process.communicate()[1].decode() for process in processes]
    wall = time.time() - started
    watch.close()
    for process, error in zip(processes, errors, strict=True):
        if process.returncode:
            sys.exit(error)
    batches = [watch.finished] if output else [_of_loop(Path(command[4])) for command in commands]
    return {
        "wall": wall,
        "first": min(finished[0][0] for finished in batches) - started,
        "steady": sum(_steady(finished) for finished in batches),
        "gib": watch.peak_bytes / 2**30,
    }


def _of_loop(folder: Path) -> Finished:
    return [(at, count) for at, count in json.loads((folder / "finished.json").read_text())]


def _steady(finished: Finished) -> float:
    return sum(count for _, count in finished[1:]) / (finished[-1][0] - finished[0][0])


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--beside", action="store_true")
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--to", type=Path, default=ROOT / "benchmarks" / "results" / "build_vs_loop.json")
    options = parser.parse_args()
    prompts = prompts_for(options.rows)
    with tempfile.TemporaryDirectory() as name, busy_cores(options.beside):
        folder = Path(name)
        (folder / "prompts.txt").write_text("\n".join(prompts))
        numbers = iter(range(10**6))

        def loops(parts: int, **variables: str) -> dict[str, float]:
            commands = []
            for part in range(parts):
                target = folder / f"loop-{next(numbers)}"
                target.mkdir()
                source = target / "prompts.json"
                source.write_text(json.dumps(prompts[part::parts]))
                model = str(ROOT / "models/bundled/model-2")
                commands.append([sys.executable, "-c", LOOP, str(source), str(target), str(BATCH), model])
            return run_commands(commands, folder, None, **variables)

        def build(*flags: str) -> dict[str, float]:
            output = folder / f"out-{next(numbers)}"
            command = [str(Path(sys.executable).parent / "imagemill"), "build", "--prompts", "prompts.txt"]
            command += ["--output", str(output), "--generate.model", "bundled", "--generate.batch-size", str(BATCH)]
            return run_commands([[*command, *flags]], folder, output)

        contenders = {
            "loop": lambda: loops(1),
            "two loops": lambda: loops(2),
            "two loops, one thread each": lambda: loops(2, OMP_NUM_THREADS="1"),
            "build": lambda: build(),
            "build, one worker": lambda: build("--workers", "1"),
        }
        taken: dict[str, list[dict[str, float]]] = {name: [] for name in options.only or contenders}
        for _ in range(options.rounds):
            for contender, figures in taken.items():
                figures.append(contenders[contender]())

    print(f"{options.rows} rows, medians of {options.rounds}\n{'':27} images/s   wall s   first s   GiB")
    for contender, figures in taken.items():
        steady, wall, first, gib = (
            statistics.median(each[key] for each in figures) for key in ("steady", "wall", "first", "gib")
        )
        print(f"{contender:27} {steady:8.1f} {wall:8.2f} {first:9.2f} {gib:6.2f}")
    result = {
        "command": " ".join(["python", *sys.argv]),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.processor() or platform.machine()}",
        "rows": options.rows,
        "rounds": taken,
    }
    options.to.parent.mkdir(exist_ok=True)
    options.to.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
