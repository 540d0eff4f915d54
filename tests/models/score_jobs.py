"""Scoring jobs for the tests: a few staged images, scorers in folders, and what came of them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imagemill.data.config.recipe import Recipe
from imagemill.data.images.codec import Encoding
from imagemill.data.records import Staged
from imagemill.data.scores.journal import ScoreJournal
from imagemill.data.scores.records import ImageRef, Score, ScoreRequest, request_id
from imagemill.data.staging.store import Staging
from imagemill.models.catalog.entries import read_catalog
from imagemill.models.catalog.scorers.resolve import resolve_scorers
from imagemill.models.catalog.scorers.spec import ScorerSpec
from imagemill.models.catalog.source import Locator
from imagemill.models.score_job import ScoreJob

PNG = Encoding("png")


def scorers(**sections: Mapping[str, Any]) -> dict[str, ScorerSpec]:
    """The scorers of a recipe with these sections."""
    steps: dict[str, Any] = {"generate": {"model": "flux.1-schnell"}}
    if any(section.get("against") in ("source", "direction") or "measure" in section for section in sections.values()):
        steps["edit"] = {"model": "flux.1-fill-dev", "instructions": ["make it red"]}
    if any(section.get("measure") == "changed_outside_mask" for section in sections.values()):
        steps["edit"]["task"] = "inpaint"
    recipe = Recipe.model_validate({"name": "n", "prompts": "p.txt", "output": "o", "scorers": sections, **steps})
    return resolve_scorers(recipe, Locator(), read_catalog())


def noise(number: int, size: tuple[int, int] = (48, 40)) -> Image.Image:
    """An image of blurred noise, another for each number; ``size``: width and height in pixels."""
    values = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(values).resize(size, Image.Resampling.BICUBIC)


def stage(folder: Path, images: Sequence[Image.Image], encoding: Encoding = PNG, first: int = 0) -> list[ImageRef]:
    """Stage images under keys that count from ``first``; returns where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    staging, refs = Staging(folder), []
    for number, image in enumerate(images, first):
        buffer = io.BytesIO()
        image.save(buffer, encoding.image_format)
        content, key = buffer.getvalue(), f"{number:032x}"
        sha256 = hashlib.sha256(content).hexdigest()
        staging.put(content, Staged(key, sha256, *image.size, 1, "cpu"), encoding.name)
        refs.append(ImageRef(key, encoding.name, None, sha256))
    return refs


def request(
    spec: ScorerSpec,
    image: ImageRef,
    text: str | None = None,
    source: ImageRef | None = None,
    before: str | None = None,
    mask: ImageRef | None = None,
) -> ScoreRequest:
    """A request as the build makes it."""
    hashes = source and source.sha256, mask and mask.sha256
    key = request_id(spec.facts(), image.sha256, *hashes, text, before)
    return ScoreRequest(key, image.key or "given", image, source, mask, text, before)


def make_job(folder: Path, *asked: tuple[ScorerSpec, Sequence[ScoreRequest]], **changes: Any) -> ScoreJob:
    """A job whose images are staged in ``folder / "staged"``."""
    (folder / "staged").mkdir(parents=True, exist_ok=True)
    groups = tuple((spec, tuple(requests)) for spec, requests in asked)
    return ScoreJob(groups, str(folder / "staged"), str(folder / "journal"), **changes)


def written(job: ScoreJob) -> dict[str, Score]:
    """Id of a request -> its score in the job's journal; fails where one was written twice."""
    scores = list(ScoreJournal(Path(job.journal)).read())
    assert len({score.request for score in scores}) == len(scores)
    return {score.request: score for score in scores}
