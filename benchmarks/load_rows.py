"""Time and memory to load a prompts file: `python benchmarks/load_rows.py [ROWS ...]`.

Each size is loaded in a separate process, from a JSON lines file into a worklist, as in a build. Memory is the
process's largest resident set, which should not grow with the rows. Writes only to a temporary folder, which for a
million rows needs about 1 GB.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZES = (10_000, 100_000, 1_000_000)


def write_prompts(path: Path, rows: int) -> None:
    """Write rows of about 150 bytes: a prompt, an id, and a text and a number that are carried."""
    with open(path, "w", encoding="utf-8") as file:
        for number in range(rows):
            prompt = f"image {number} of a fox darting between snow-covered pines at dusk, plate {number % 997}"
            row = {"id": f"row-{number}", "prompt": prompt, "source": "benchmark", "score": number / rows}
            if number % 2:
                # Half of the rows get their id from their content.
                del row["id"]
            file.write(json.dumps(row) + "\n")


def load(prompts: Path) -> None:
    """Load the file in this process, and print rows, seconds and peak memory as JSON."""
    from imagemill.data.config.recipe import Recipe
    from imagemill.data.config.steps import Generate
    from imagemill.data.planning.load_rows import load_rows
    from imagemill.data.planning.worklist import Worklist

    recipe = Recipe(prompts=str(prompts), generate=Generate())
    before = peak_mib()
    started = time.perf_counter()
    with Worklist.create(prompts.with_suffix(".sqlite")) as worklist:
        loaded = load_rows(recipe, worklist)
    seconds = time.perf_counter() - started
    print(json.dumps({"rows": loaded.rows, "seconds": seconds, "before": before, "peak": peak_mib()}))


def peak_mib() -> float:
    """This process's largest resident set so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def main(sizes: list[int]) -> None:
    """Load a file of each size and print one line per size."""
    print(f"{'rows':>12} {'seconds':>8} {'rows/s':>8} {'peak MiB':>9} {'imports MiB':>12} {'worklist MiB':>13}")
    for rows in sizes:
        with tempfile.TemporaryDirectory() as folder:
            prompts = Path(folder) / "prompts.jsonl"
            write_prompts(prompts, rows)
            here = [sys.executable, "-c", "from benchmarks.load_rows import load; import sys, pathlib"]
            here[-1] += "; load(pathlib.Path(sys.argv[1]))"
            output = subprocess.run(
                [*here, str(prompts)], cwd=Path(__file__).parents[1], check=True, capture_output=True, text=True
            )
            found = json.loads(output.stdout)
            size = prompts.with_suffix(".sqlite").stat().st_size / 2**20
        print(
            f"{found['rows']:>12,} {found['seconds']:>8.1f} {found['rows'] / found['seconds']:>8,.0f} "
            f"{found['peak']:>9.0f} {found['before']:>12.0f} {size:>13.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or list(SIZES))
