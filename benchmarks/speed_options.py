"""What each speed setting gains and does to the pixels: python benchmarks/speed_options.py [--pictures 96] [--rounds 5]

The bundled model draws the same prompts, seeds and batches with each setting, in a worker's drawing function and on the
CPU (8 steps, so that step caches have something to skip). Settings take turns within a round. Prints median pictures/s,
their ratio to the plain run's, and the lowest and median PSNR in dB against the plain run's pictures ("same": equal bit
by bit). Writes speed_options.json.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
STEPS = 8
BATCH = 16
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {"remember_texts": False},
    "remember_texts": {},
    "fuse_qkv": {"fuse_qkv": True},
    "channels_last": {"channels_last": True},
    "compile": {"compile": True},
    "taylorseer": {"step_cache": "taylorseer"},
    "magcache": {"step_cache": "magcache"},
    "first_block, batches of 1": {"step_cache": "first_block"},
    "plain, batches of 1": {"remember_texts": False},
}


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Of two 8-bit pictures, in dB: 10 log10(255^2 / mean squared error)."""
    error = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def drawn(name: str, prompts: list[str], folder: Path) -> tuple[float, list[np.ndarray]]:
    """Seconds for the prompts, and the pictures."""
    from data.images import Encoding, decode_picture
    from data.records import Drawing
    from data.sections import Generate
    from data.speed import Speed
    from data.staging import Staging
    from models.catalog import resolve
    from models.inference import draw
    from models.job import Job

    batch = 1 if name.endswith("of 1") else BATCH
    spec = resolve("generate", Generate(speed=Speed(**SETTINGS[name]), batch_size=batch), None)
    drawings = tuple(
        Drawing(f"{number:032x}", prompt, number, STEPS, width=64, height=64) for number, prompt in enumerate(prompts)
    )
    job = Job(spec, drawings, {one.key: (Encoding("png"),) for one in drawings}, batch, frozenset(), str(folder))
    started = time.perf_counter()
    report = draw(job, lambda event: None)
    seconds = time.perf_counter() - started
    if report.failed:
        raise RuntimeError(next(iter(report.failed.values())).reason)
    staging = Staging(folder)
    return seconds, [np.asarray(decode_picture(staging.read(one.key, "png")[0], one.key)) for one in drawings]


def main() -> None:
    """Measure each setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    prompts = [f"a {'large' if n % 2 else 'small'} red circle on a blue background" for n in range(options.pictures)]
    seconds: dict[str, list[float]] = {name: [] for name in SETTINGS}
    pictures: dict[str, list[np.ndarray]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in SETTINGS:
            # Loads, and compiles where that is the setting.
            drawn(name, prompts[:BATCH], Path(folder) / f"warm {name}")
        for turn in range(options.rounds):
            for name in SETTINGS:
                taken, pictures[name] = drawn(name, prompts, Path(folder) / f"{turn} {name}")
                seconds[name].append(taken)
    figures = []
    print(f"{options.pictures} pictures, {STEPS} steps\n{'':28}pictures/s   of plain   PSNR, dB: lowest   median")
    for name, taken in seconds.items():
        plain = "plain, batches of 1" if name.endswith("of 1") else "plain"
        rate = options.pictures / statistics.median(taken)
        ratio = statistics.median(seconds[plain]) / statistics.median(taken)
        quality = [psnr(a, b) for a, b in zip(pictures[plain], pictures[name], strict=True)]
        lowest, middle = (
            "same" if math.isinf(value) else round(value, 1) for value in (min(quality), statistics.median(quality))
        )
        figures.append({"setting": name, "per_s": rate, "ratio": ratio, "lowest_db": lowest, "median_db": middle})
        print(f"{name:28}{rate:10.1f}{ratio:11.2f}{lowest!s:>19}{middle!s:>9}")
    Path("speed_options.json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
