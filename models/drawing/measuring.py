"""Measurement of one job's images: while they are generated, or afterwards if they were staged without a value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from PIL import Image

from imagemill.data.images.codec import decode_image
from imagemill.data.records import Drawing, Failure
from imagemill.data.staging.store import Staging
from imagemill.models.drawing.measure_registry import Measure, MeasureContext, registry
from imagemill.models.job import Job


class Measuring:
    """Applies a job's measures. Images that a measure rejects are added to ``failed``."""

    def __init__(self, job: Job, staging: Staging, report: Callable[[dict[str, Any]], None]) -> None:
        self._job = job
        self._staging = staging
        self._measures = [
            (registry()[name], MeasureContext(job.spec, setting, report)) for name, setting in job.measures.items()
        ]
        self.true: Counter[str] = Counter()
        """Measure -> number of generated images with the value True."""

    def load(self, pipeline: Any) -> None:
        """Load the measures' models beside the pipeline. Raises RecipeError."""
        self._measures = [(measure, replace(context, pipeline=pipeline)) for measure, context in self._measures]
        for measure, context in self._measures:
            if measure.load:
                measure.load(context)

    def measure(
        self, images: Sequence[tuple[Drawing, Image.Image]], failed: dict[str, Failure]
    ) -> list[dict[str, Any] | None]:
        """Values by measure of each image of a batch; None for an image that is rejected."""
        batch: list[dict[str, Any]] = [{} for _ in images]
        for measure, context in self._measures if images else ():
            if context.pipeline is not None or not measure.needs_pipeline:
                for values, value in zip(batch, measure.of(images, context), strict=True):
                    values[measure.name] = value
        self.true.update(name for values in batch for name, value in values.items() if value is True)
        return [
            None if self._is_rejected(drawing, values, failed) else values
            for (drawing, _), values in zip(images, batch, strict=True)
        ]

    def check_staged(self, drawings: Sequence[Drawing], failed: dict[str, Failure]) -> None:
        """Measure staged images that lack a value, as those of a build without the measure."""
        measures = [(measure, context) for measure, context in self._measures if not measure.needs_pipeline]
        for drawing in drawings if measures else ():
            encodings = self._job.encodings[drawing.key]
            best = min(encodings, key=lambda encoding: not encoding.lossless)
            if (found := self._staging.read(drawing.key, best.name)) is None:
                continue
            content, staged = found
            values = dict(staged.measures)
            if lacking := [both for both in measures if values.get(both[0].name) is None]:
                new = _values(decode_image(content, drawing.key), drawing, lacking)
                self._staging.add_measures(drawing.key, encodings, new)
                values |= new
            self._is_rejected(drawing, values, failed)

    def _is_rejected(self, drawing: Drawing, values: Mapping[str, Any], failed: dict[str, Failure]) -> bool:
        for measure, context in self._measures:
            value = values.get(measure.name)
            if measure.fault and value is not None and (fault := measure.fault(value, context.setting)):
                failed[drawing.key] = Failure(fault)
                return True
        return False


def _values(image: Image.Image, drawing: Drawing, measures: Sequence[tuple[Measure, MeasureContext]]) -> dict[str, Any]:
    return {measure.name: measure.of([(drawing, image)], context)[0] for measure, context in measures}
