"""Six methods at FLUX.1-dev's dimensions on a GPU: python benchmarks/gpu.py [--tiny] [--batches 1 4 8 16] [--rounds 5]

At 512x512 with 20 steps and 1024x1024 with 28, for each batch size: images/s and TFLOP/s of
  dataflow   fp16, attention slicing, one call per batch, its PNGs saved before the next (DataFlow-MM's serving class)
  loop       the plain bf16 loop: one call per batch, its PNGs saved before the next
  imagemill  a worker's drawing (models/drawing/draw.py): encoding and staging while the device generates
  compiled   the same with speed.compile
  fp8        compiled, and memory.quantization: torchao_float8_dynamic
  cached     compiled, and speed.step_cache: taylorseer
then a whole build of 64 images: images/s and how long the device was idle. Weights are random and created on the device
(benchmarks/flux_dimensions.py): nothing is downloaded. One method after the other, since few GPUs hold two models.
Medians are printed after the machine's measured matrix rate, and written to gpu.json. --tiny tries the benchmark on a
CPU.

Work per image and step, in FLOP: 2 * 12e9 * tokens + 4 * tokens^2 * 3072 * 57, tokens = (side / 16)^2 + 512: the
transformer's 12e9 weights, and the attention of its 57 blocks.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[1]
SHAPES = ((512, 20), (1024, 28))
SETTINGS: dict[str, dict[str, Any]] = {
    "imagemill": {},
    "compiled": {"speed": {"compile": True}},
    "fp8": {"speed": {"compile": True}, "memory": {"quantization": "torchao_float8_dynamic"}},
    "cached": {"speed": {"compile": True, "step_cache": "taylorseer"}},
}


def flop(side: int, steps: int) -> float:
    """FLOP of one image; see the module's docstring."""
    tokens = (side // 16) ** 2 + 512
    return steps * (2 * 12e9 * tokens + 4 * tokens**2 * 3072 * 57)


def matrix_rate(device: torch.device, side: int) -> float:
    """TFLOP/s of a bf16 matrix product."""
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(12):
        started = time.perf_counter()
        a @ b
        wait(device)
        seconds.append(time.perf_counter() - started)
    return 2 * side**3 / statistics.median(seconds[2:]) / 1e12


def wait(device: torch.device) -> None:
    """Wait until the device has finished all its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Method:
    """One method of generating, with its own pipeline. The other methods' weights must be freed before it is made."""

    def __init__(self, name: str, model: Path, folder: Path, device: torch.device) -> None:
        from benchmarks.flux_dimensions import make_pipeline
        from imagemill.data.config.steps import Generate
        from imagemill.models.catalog.resolve import resolve
        from imagemill.models.loading.acceleration import speed_up

        settings = SETTINGS.get(name, {})
        dtype = "float16" if name == "dataflow" and device.type == "cuda" else "bfloat16"
        section = Generate(model=str(model), dtype=dtype, **settings)
        self.spec = resolve("generate", section, None)
        self.name, self.folder, self.count = name, folder / name, 0
        self.folder.mkdir()
        self.pipeline = make_pipeline(self.spec, device)
        if name == "dataflow":
            self.pipeline.enable_attention_slicing()
        elif name != "loop":
            speed_up(self.pipeline, self.spec.speed, self.spec.name, self.spec.call.texts_vary)

    def generate(self, side: int, steps: int, batch: int, batches: int) -> None:
        """Generate and save this many batches of new prompts."""
        if self.name in SETTINGS:
            self._generate_as_a_worker(side, steps, batch, batches)
            return
        for _ in range(batches):
            prompts = [f"a photo of thing {self._next()}" for _ in range(batch)]
            seeds = [torch.Generator().manual_seed(number) for number in range(batch)]
            options = {"width": side, "height": side, "num_inference_steps": steps, "generator": seeds}
            for image in self.pipeline(prompts, **options).images:
                image.save(self.folder / f"{self._next()}.png")

    def _generate_as_a_worker(self, side: int, steps: int, batch: int, batches: int) -> None:
        from imagemill.data.images.codec import Encoding
        from imagemill.data.records import Drawing
        from imagemill.models.drawing.draw import draw
        from imagemill.models.job import Job
        from imagemill.models.loading import pipeline_cache as resident

        numbers = [self._next() for _ in range(batch * batches)]
        drawings = tuple(
            Drawing(f"{number:032x}", f"a photo of thing {number}", number, steps, width=side, height=side)
            for number in numbers
        )
        staged = {drawing.key: (Encoding("png"),) for drawing in drawings}
        # The state of a worker that has loaded the model.
        ready = {(self.spec.pipeline, self.spec.scheduler): self.pipeline}
        resident._resident[self.spec.weights_key] = resident.Resident(self.spec, ready, self.pipeline.scheduler, {})
        # Random weights give noise, or a blank image: no checks.
        report = draw(Job(self.spec, drawings, staged, batch, frozenset(), str(self.folder)), lambda event: None)
        resident._resident.clear()
        if report.failed:
            raise RuntimeError(f"{self.name}: {next(iter(report.failed.values())).reason}")

    def _next(self) -> int:
        self.count += 1
        return self.count


def write_configs(folder: Path) -> Path:
    """Write a model folder without weights: the files that imagemill reads before it loads a model."""
    index = json.loads((ROOT / "models" / "bundled" / "model" / "model_index.json").read_text())
    folder.mkdir()
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def whole_build(model: Path, folder: Path, shape: tuple[int, int], batch: int, rows: int) -> dict[str, Any]:
    """Build with a recipe's defaults, in bf16, and return the run's line of runs.jsonl."""
    from imagemill.data.config.load import load_recipe
    from imagemill.flows.build_dataset import build_dataset
    from imagemill.tasks.runner.gpu_task_runner import GpuTaskRunner

    (folder / "prompts.txt").write_text("".join(f"a photo of thing {number}\n" for number in range(rows)))
    generate = {"model": str(model), "dtype": "bfloat16", "width": shape[0], "height": shape[0], "steps": shape[1]}
    recipe = {
        "prompts": str(folder / "prompts.txt"),
        "output": str(folder / f"build-{shape[0]}"),
        "generate": {**generate, "batch_size": batch},
        "checks": {"not_finite": False, "blank": False},
    }
    return build_dataset.with_options(task_runner=GpuTaskRunner(workers=1))(load_recipe(recipe))


def measure(options: argparse.Namespace, folder: Path, emit: Callable[[dict[str, Any]], None]) -> None:
    """Measure all methods, each at all shapes and batch sizes, then the build."""
    from imagemill.models.loading.pipeline import pick_device

    device = pick_device()
    shapes = ((64, 2),) if options.tiny else SHAPES
    emit({"matrix_tflops": matrix_rate(device, 512 if options.tiny else 8192), "device": str(device)})
    model = write_configs(folder / "model")
    for name in ("dataflow", "loop", *SETTINGS):
        if name == "fp8" and (device.type != "cuda" or find_spec("torchao") is None):
            emit({"method": name, "not measured": "it needs a CUDA device and torchao"})
            continue
        method = Method(name, model, folder, device)
        for side, steps in shapes:
            for batch in options.batches:
                method.generate(side, steps, batch, 1)
                seconds = []
                for _ in range(options.rounds):
                    started = time.perf_counter()
                    method.generate(side, steps, batch, 2)
                    wait(device)
                    seconds.append(time.perf_counter() - started)
                rate = 2 * batch / statistics.median(seconds)
                figures = {"method": name, "side": side, "steps": steps, "batch": batch, "images_per_s": rate}
                emit({**figures, "tflops": rate * flop(side, steps) / 1e12})
        del method
        torch.cuda.empty_cache()
    for shape in shapes:
        run = whole_build(model, folder, shape, batch=options.batches[-1], rows=8 if options.tiny else 64)
        columns = ("images_per_second", "device_idle", "seconds", "generated", "set_aside")
        emit({"method": "whole build", "side": shape[0], **{name: run.get(name) for name in columns}})


def main() -> None:
    """Measure, print and write gpu.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--tiny",
        action="store_true",
        help="a tiny model that also runs on the CPU: tests the benchmark, measures nothing",
    )
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 8, 16])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    os.environ |= {
        # Workers import nothing from the working directory, but must find the pipeline.
        "PYTHONPATH": str(ROOT),
        "IMAGEMILL_PIPELINE": "benchmarks.flux_dimensions:make_pipeline",
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
    }
    if options.tiny:
        os.environ["IMAGEMILL_BENCHMARK_TINY"] = "1"
    elif not torch.cuda.is_available():
        sys.exit("gpu.py: no CUDA device was found. To test the benchmark itself: --tiny --batches 1 2 --rounds 1.")
    figures: list[dict[str, Any]] = []

    def emit(figure: dict[str, Any]) -> None:
        figures.append({name: round(x, 3) if isinstance(x, float) else x for name, x in figure.items()})
        print("  ".join(f"{name}: {value}" for name, value in figures[-1].items()), flush=True)
        Path("gpu.json").write_text(json.dumps(figures, indent=2) + "\n")

    with tempfile.TemporaryDirectory() as folder:
        measure(options, Path(folder), emit)


if __name__ == "__main__":
    main()
