"""Jobs for the tests: a few small drawings with a model in a folder, and what came of them."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imagemill.data.config.checks import Checks
from imagemill.data.config.steps import Generate
from imagemill.data.images.codec import Encoding
from imagemill.data.records import Drawing
from imagemill.data.staging.store import Staging
from imagemill.models.catalog.resolve import resolve
from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.drawing.draw import draw
from imagemill.models.job import Job

PNG = Encoding("png")


def make_job(model: Path, staging: Path, prompts: list[str], **changes: Any) -> Job:
    """A job over ``prompts`` with the model at ``model``, in batches of four. Makes the folder to stage them in."""
    staging.mkdir(exist_ok=True)
    spec = resolve("generate", Generate(model=str(model)))
    drawings = tuple(
        Drawing(f"{number:032x}", prompt, seed=number, steps=1, width=64, height=64)
        for number, prompt in enumerate(prompts)
    )
    keys = {drawing.key: (PNG,) for drawing in drawings}
    return replace(Job(spec, drawings, keys, 4, frozenset(Checks.model_fields), str(staging)), **changes)


def loaded_as(job: Job, name: str) -> Job:
    """The job with a stand-in for its model, which stays loaded under another name than the model itself."""
    return replace(job, spec=replace(job.spec, source=replace(job.spec.source, files=name)))


def silent(event: dict[str, Any]) -> None:
    """A report that nobody reads."""


def batch_sizes(job: Job) -> list[int]:
    """The batch size that each staged image was generated with."""
    staging = Staging(Path(job.staging))
    return [found.batch_size for drawing in job.drawings if (found := staging.find(drawing.key, PNG.name))]


def generated(spec: ModelSpec, folder: Path, drawings: list[Drawing], batch_size: int = 2) -> list[np.ndarray]:
    """The drawings' images, (height, width, 3) of bytes; fails where one is not there."""
    folder.mkdir(exist_ok=True)
    keys = {drawing.key: (PNG,) for drawing in drawings}
    batch_size = min(batch_size, spec.limits.max_batch or batch_size)
    report = draw(Job(spec, tuple(drawings), keys, batch_size, frozenset(Checks.model_fields), str(folder)), silent)
    assert not report.failed
    assert report.generated == len(drawings)
    staged = [Staging(folder).read(drawing.key, PNG.name) for drawing in drawings]
    return [np.asarray(Image.open(BytesIO(content))) for content, _ in staged]
