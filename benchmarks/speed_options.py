"""Speed settings, and their effect on the pixels: python benchmarks/speed_options.py [--images 96] [--rounds 5]

The bundled model generates the same prompts, seeds and batches with each setting, in a worker's drawing function and on
the CPU (8 steps, so that step caches have something to skip), and applies four instructions to each of a quarter as
many images. Settings take turns within a round. Prints median images/s, their ratio to the plain run's, and the lowest
and median PSNR in dB relative to the plain run's images ("same": equal bit by bit). Writes speed_options.json.
Quantization is skipped if torchao is not installed. The attention backends other than torch's own need a GPU.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
STEPS = 8
BATCH = 16
PLAIN = {"speed": {"remember_texts": False, "remember_sources": False}}
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": PLAIN,
    "remember_texts": {},
    "fuse_qkv": {"speed": {"fuse_qkv": True}},
    "channels_last": {"speed": {"channels_last": True}},
    "compile": {"speed": {"compile": True}},
    "taylorseer": {"speed": {"step_cache": "taylorseer"}},
    "magcache": {"speed": {"step_cache": "magcache"}},
    "attention_slicing": {"memory": {"attention_slicing": True}},
    "vae_slicing": {"memory": {"vae_slicing": True}},
    "torchao_int8": {"memory": {"quantization": "torchao_int8"}},
    "torchao_float8": {"memory": {"quantization": "torchao_float8"}},
    "first_block, batches of 1": {"speed": {"step_cache": "first_block"}},
    "plain, batches of 1": PLAIN,
    "remember_sources, edits": {},
    "plain, edits": PLAIN,
}
INSTRUCTIONS = ("make it blue", "make it red", "make it green", "make it yellow")


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """PSNR of two 8-bit images, in dB: 10 log10(255^2 / mean squared error)."""
    error = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def base_of(name: str) -> str:
    """Name of the plain run that a setting is compared with."""
    return f"plain, {name.split(', ')[1]}" if ", " in name else "plain"


def drawings_for(name: str, prompts: list[str], sources: list[Path]) -> Iterator[Any]:
    """The images to generate: the prompts, or four edits of each source."""
    from imagemill.data.records import Drawing

    if not name.endswith("edits"):
        for number, prompt in enumerate(prompts):
            yield Drawing(f"{number:032x}", prompt, number, STEPS, width=64, height=64)
        return
    edits = ((source, instruction) for source in sources for instruction in INSTRUCTIONS)
    for number, (source, instruction) in enumerate(edits):
        content = hashlib.sha256(source.read_bytes()).hexdigest()
        yield Drawing(f"{number:032x}", instruction, number, STEPS, source_path=str(source), source_hash=content)


def generate(name: str, drawings: tuple[Any, ...], folder: Path) -> tuple[float, list[np.ndarray]]:
    """Generate the drawings with a setting; returns the seconds and the images."""
    from imagemill.data.config.steps import Edit, Generate
    from imagemill.data.images.codec import Encoding, decode_image
    from imagemill.data.staging.store import Staging
    from imagemill.models.catalog.resolve import resolve
    from imagemill.models.drawing.draw import draw
    from imagemill.models.job import Job

    folder.mkdir()
    batch = 1 if name.endswith("of 1") else BATCH
    step, section = ("edit", Edit) if name.endswith("edits") else ("generate", Generate)
    spec = resolve(step, section.model_validate(SETTINGS[name]), None)
    job = Job(
        spec, drawings, {drawing.key: (Encoding("png"),) for drawing in drawings}, batch, frozenset(), str(folder)
    )
    started = time.perf_counter()
    report = draw(job, lambda event: None)
    seconds = time.perf_counter() - started
    if report.failed:
        raise RuntimeError(f"{name}: {next(iter(report.failed.values())).reason}")
    staging = Staging(folder)
    return seconds, [np.asarray(decode_image(staging.read(drawing.key, "png")[0], drawing.key)) for drawing in drawings]


def main() -> None:
    """Measure each setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    settings = [name for name in SETTINGS if find_spec("torchao") or not name.startswith("torchao")]
    prompts = [f"a {'large' if n % 2 else 'small'} red circle on a blue background" for n in range(options.images)]
    seconds: dict[str, list[float]] = {name: [] for name in settings}
    images: dict[str, list[np.ndarray]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        to_edit = prompts[: max(1, options.images // len(INSTRUCTIONS))]
        sources = [folder / f"{number}.png" for number in range(len(to_edit))]
        _, found = generate("plain", tuple(drawings_for("plain", to_edit, [])), folder / "sources")
        for path, image in zip(sources, found, strict=True):
            Image.fromarray(image).save(path)
        for name in settings:
            # Loads the model, and compiles it with that setting.
            generate(name, tuple(drawings_for(name, prompts, sources))[:BATCH], folder / f"warm {name}")
        for turn in range(options.rounds):
            for name in settings:
                drawings = tuple(drawings_for(name, prompts, sources))
                taken, images[name] = generate(name, drawings, folder / f"{turn} {name}")
                seconds[name].append(taken)
    figures = []
    print(f"{options.images} images, {STEPS} steps\n{'':28}images/s   of plain   PSNR, dB: lowest   median")
    for name, taken in seconds.items():
        plain = base_of(name)
        rate = len(images[name]) / statistics.median(taken)
        ratio = statistics.median(seconds[plain]) / statistics.median(taken)
        quality = [psnr(a, b) for a, b in zip(images[plain], images[name], strict=True)]
        lowest, middle = (
            "same" if math.isinf(value) else round(value, 1) for value in (min(quality), statistics.median(quality))
        )
        figures.append({"setting": name, "per_s": rate, "ratio": ratio, "lowest_db": lowest, "median_db": middle})
        print(f"{name:28}{rate:10.1f}{ratio:11.2f}{lowest!s:>19}{middle!s:>9}")
    Path("speed_options.json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
