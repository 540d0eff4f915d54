"""What all checks share: their setup, their answers, and images generated as a worker generates them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Setup:
    """Models and scale of a run."""

    models: Sequence[Path]
    """Folders of two models with FLUX.1-dev's parts, equal but for the transformer's weights (model.py)."""
    folder: Path
    """For files of the checks."""
    tiny: bool

    @property
    def device(self) -> torch.device:
        """The GPU, if there is one."""
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")

    @property
    def side(self) -> int:
        """Side of an image in pixels."""
        return 64 if self.tiny else 512


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer to one question."""

    question: str
    answer: str
    """yes, no, or why there is none."""
    figures: dict[str, Any] = field(default_factory=dict)


def yes_or_no(question: str, is_so: bool, **figures: Any) -> Answer:
    """An answer; floats are rounded to three decimals."""
    rounded = {name: round(value, 3) if isinstance(value, float) else value for name, value in figures.items()}
    return Answer(question, "yes" if is_so else "no", rounded)


def not_run(question: str, why: str) -> Answer:
    """No answer."""
    return Answer(question, f"not run: {why}")


def needs_gpu(setup: Setup, question: str) -> Answer | None:
    """The answer to a question that has none without a GPU; None where there is one."""
    return None if setup.device.type == "cuda" else not_run(question, "no CUDA device")


def spec_of(model: Path, **settings: Any) -> Any:
    """The model as a recipe's generate section names it, in bfloat16."""
    from imagemill.data.config.steps import Generate
    from imagemill.models.catalog.resolve import resolve

    return resolve("generate", Generate(**{"model": str(model), "dtype": "bfloat16", **settings}))


def draw_images(
    setup: Setup, spec: Any, count: int, batch: int = 1, **changes: Any
) -> tuple[Any, list[dict[str, Any]]]:
    """Generate new images as a worker does, unchecked; returns its report and its events.

    ``changes``: fields of the drawings, such as ``steps`` and ``width``, or of the job.
    """
    from imagemill.data.images.codec import Encoding
    from imagemill.data.records import Drawing
    from imagemill.models.drawing.draw import draw
    from imagemill.models.job import Job

    fields = {"steps": 2, "width": setup.side, "height": setup.side}
    fields = {name: changes.pop(name, value) for name, value in fields.items()}
    prompt = changes.pop("prompt", None)
    drawings = tuple(
        Drawing(uuid4().hex, prompt or f"a photo of thing {number}", number, **fields) for number in range(count)
    )
    staging = setup.folder / uuid4().hex
    staging.mkdir()
    events: list[dict[str, Any]] = []
    job = Job(
        spec, drawings, {drawing.key: (Encoding("png"),) for drawing in drawings}, batch, frozenset(), str(staging)
    )
    return draw(replace(job, **changes), events.append), events


def prepared(setup: Setup, texts: Sequence[str], **fields: Any) -> list[Any]:
    """Rows of one batch, for draw_batch and arguments_of_call."""
    from imagemill.data.records import Drawing
    from imagemill.models.drawing.batches import PreparedDrawing

    plain = {"steps": 2, "width": setup.side, "height": setup.side, **fields}
    return [
        PreparedDrawing(Drawing(f"{number:032x}", text, number, **plain), None, plain["width"], plain["height"])
        for number, text in enumerate(texts)
    ]


def pixels(pipeline: Any, spec: Any, rows: Sequence[Any]) -> list[bytes]:
    """Bytes of each row's image."""
    from imagemill.models.drawing.pipeline_call import draw_batch

    return [image.tobytes() for _, image, _ in draw_batch(pipeline, spec, rows, len(rows))]


def nothing_resident() -> None:
    """Drop all loaded models."""
    from imagemill.models.loading import pipeline_cache
    from imagemill.models.loading.device_memory import free_memory

    pipeline_cache._resident.clear()
    free_memory()


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Set variables for the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ |= variables
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def child(setup: Setup, module: str, *arguments: str, timeout: float, **variables: str) -> tuple[int | None, Any]:
    """Run a module of this folder in another process: its exit code (None: too late), and the JSON that it printed."""
    tiny = ["--tiny"] if setup.tiny else []
    command = [sys.executable, "-m", f"benchmarks.gpu_checks.{module}", *arguments, *tiny]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        return None, None
    lines = [line for line in done.stdout.splitlines() if line.startswith(("{", "["))]
    return done.returncode, json.loads(lines[-1]) if lines else done.stderr.strip().splitlines()[-1:]
