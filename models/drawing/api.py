"""Generation with an images API: a job's images are requested, checked and staged. Imports no torch."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import Image

from imagemill.data.errors import BadRow, BuildFailed
from imagemill.data.images.codec import LOSSLESS, Encoding, decode_image, encode_image
from imagemill.data.images.limits import MAX_ANSWER_PIXELS
from imagemill.data.images.provenance.details import ModelDetails
from imagemill.data.records import Drawing, Failure, StepReport, WorkerStats
from imagemill.data.staging.store import Generated, StageRequest, Staging
from imagemill.data.storage.disk_errors import explain_disk_errors
from imagemill.models.api.client import ImagesApi, Request
from imagemill.models.api.transport import ApiFault
from imagemill.models.catalog.api_spec import ApiSpec
from imagemill.models.drawing.batches import decode_references, read_source
from imagemill.models.drawing.image_checks import find_fault
from imagemill.models.drawing.measuring import Measuring
from imagemill.models.job import Job

DEVICE = "openai API"
"""Device in the manifest: an API does not report what it runs on."""

MAX_ATTEMPTS = 2
"""Attempts for an image that fails a check or cannot be read."""

IN_FLIGHT_TIMEOUT_S = 30.0
"""Wait for the requests in flight once the API has failed for good."""

Report = Callable[[dict[str, Any]], None]


async def draw_with_api(job: Job, api: ImagesApi, report: Report) -> StepReport:
    """Generate and stage the job's images that are not staged yet; like models.drawing.draw.draw, in an event loop.

    An image that fails is in the result's ``failed``. Raises BuildFailed where the API itself is at fault.
    """
    started, staging = time.perf_counter(), Staging(Path(job.staging))
    missing = await asyncio.to_thread(_missing, job, staging)
    if len(missing) < len(job.drawings):
        report({"kind": "reused", "images": len(job.drawings) - len(missing)})
    measuring, failed = Measuring(job, staging, report), {}
    new = {drawing.key for drawing in missing}
    staged = [drawing for drawing in job.drawings if drawing.key not in new]
    await asyncio.to_thread(measuring.check_staged, staged, failed)
    if not missing:
        return StepReport(reused=len(job.drawings), failed=failed)
    generator = _ApiGenerator(job, job.spec, api, staging, report, measuring, failed=failed)
    tasks = [asyncio.create_task(generator.generate(drawing)) for drawing in missing]
    try:
        await _finish(tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if not generator.generated:
        await generator.check_model(missing)
    return StepReport(
        reused=len(job.drawings) - len(missing),
        failed=generator.failed,
        stats=WorkerStats(DEVICE, generator.generated, seconds=round(time.perf_counter() - started, 3)),
    )


async def _finish(tasks: list[asyncio.Task[None]]) -> None:
    """Wait for all; after a fatal failure only a little, since requests in flight may have been charged."""
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    if pending:
        await asyncio.wait(pending, timeout=IN_FLIGHT_TIMEOUT_S)
    for task in done:
        task.result()


def _missing(job: Job, staging: Staging) -> list[Drawing]:
    return staging.missing(job.drawings, job.encodings)


@dataclass
class _ApiGenerator:
    """Generates the images of one job."""

    job: Job
    spec: ApiSpec
    api: ImagesApi
    staging: Staging
    report: Report
    measuring: Measuring
    generated: int = 0
    failed: dict[str, Failure] = field(default_factory=dict)

    async def generate(self, drawing: Drawing) -> None:
        """Generate an image and stage it; a faulty one is requested once more, then it is in ``failed``."""
        fault, requests = "", 0
        for _ in range(MAX_ATTEMPTS):
            try:
                source = await asyncio.to_thread(read_source, drawing, self.staging)
                references = await asyncio.to_thread(decode_references, drawing)
                image, more = await self._request(drawing, source, references)
            except BadRow as error:
                self.failed[drawing.key] = Failure(str(error))
                return
            except ApiFault as error:
                fault, requests = str(error), requests + error.requests
                if error.may_pass:
                    continue
                break
            requests += more
            size = _size(drawing, self.spec) or image.size
            fault = find_fault(image, True, source, size, self.job.checks)
            if not fault:
                if await asyncio.to_thread(self._stage, image, drawing, self.job.encodings[drawing.key]):
                    self.generated += 1
                    self.report({"kind": "generated", "model": self.spec.name, "images": 1})
                return
        self.failed[drawing.key] = Failure(fault, requests)

    async def _request(
        self, drawing: Drawing, source: Image.Image | None, references: Sequence[Image.Image] = ()
    ) -> tuple[Image.Image, int]:
        """The image, and the number of requests. Raises ApiFault."""
        encoded = source and await asyncio.to_thread(_png, source)
        more = [await asyncio.to_thread(_png, image) for image in references]
        content, requests = await self.api.generate(Request(_fields(drawing, self.spec), encoded, tuple(more)))
        if self.spec.api.cost_per_image:
            self.report({"kind": "paid", "cost": self.spec.api.cost_per_image})
        try:
            limit = max(MAX_ANSWER_PIXELS, math.prod(_size(drawing, self.spec) or (0,)))
            return await asyncio.to_thread(decode_image, content, "the API's answer", limit), requests
        except BadRow as error:
            raise ApiFault(str(error), requests, may_pass=True) from error

    def _stage(self, image: Image.Image, drawing: Drawing, encodings: tuple[Encoding, ...]) -> bool:
        """Measure the image and stage it; False where a measure rejects it."""
        (values,) = self.measuring.measure([(drawing, image)], self.failed)
        if values is None:
            return False
        generated = Generated(self.spec.name, 1, DEVICE, values, ModelDetails(self.spec.revision))
        with explain_disk_errors(self.staging.folder):
            self.staging.stage([StageRequest(image, drawing, encodings, generated)])
        return True

    async def check_model(self, drawings: list[Drawing]) -> None:
        """Raises BuildFailed when all images failed for one reason and a plain one fails too: no row is at fault."""
        reasons = {failure.reason for failure in self.failed.values()}
        if len(self.failed) < 2 or len(reasons) > 1:
            return
        plain = replace(drawings[0], prompt="an image", seed=0, negative_prompt=None)
        try:
            source = await asyncio.to_thread(read_source, plain, self.staging)
            image, _ = await self._request(plain, source and Image.new("RGB", source.size, "gray"))
            reason = find_fault(image, True, None, _size(plain, self.spec) or image.size, self.job.checks)
        except (ApiFault, BadRow) as error:
            reason = str(error)
        if reason:
            raise BuildFailed(
                f"the images API at {self.spec.api.base_url} fails on every image, a plain one too, so no single row "
                f"is at fault: {reason}"
            )


def _png(image: Image.Image) -> bytes:
    return encode_image(image, Encoding(LOSSLESS), "")


def _fields(drawing: Drawing, spec: ApiSpec) -> dict[str, Any]:
    """Fields of a request: OpenAI's, and the others under the names that vLLM-Omni and SGLang have for them."""
    api, size = spec.api, _size(drawing, spec)
    fields = {
        "model": spec.name,
        "prompt": drawing.prompt,
        "n": 1,
        "size": f"{size[0]}x{size[1]}" if size else api.size,
        "quality": api.quality,
        "seed": drawing.seed if api.send_seed else None,
        "num_inference_steps": drawing.steps,
        "guidance_scale": drawing.guidance_scale,
        "negative_prompt": drawing.negative_prompt,
    }
    return {**{name: value for name, value in fields.items() if value is not None}, **api.extra}


def _size(drawing: Drawing, spec: ApiSpec) -> tuple[int, int] | None:
    """Requested width and height, in pixels; None where the API decides."""
    if drawing.width and drawing.height:
        return drawing.width, drawing.height
    if spec.api.size and spec.api.size != "auto":
        width, _, height = spec.api.size.partition("x")
        return int(width), int(height)
    return None
