"""Recovery from failed batches, so that all rows but those at fault are generated.

A batch that runs out of memory is made smaller, a lost device ends the process, any other failure halves the batch
until the rows at fault stand alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import Image

from imagemill.data.errors import BuildFailed, ImagemillError
from imagemill.data.messages import shown
from imagemill.data.records import Failure
from imagemill.models.drawing.batch_size import find_batch_size
from imagemill.models.drawing.batches import PreparedDrawing
from imagemill.models.drawing.image_checks import find_fault
from imagemill.models.drawing.pipeline_call import Outcome, draw_batch
from imagemill.models.job import Job
from imagemill.models.loading.device_memory import free_memory
from imagemill.models.loading.load_errors import DeviceLost, is_out_of_memory, is_sticky
from imagemill.models.loading.pipeline_cache import evict_others
from imagemill.models.running.watchdog import time_limit

GeneratedImage = tuple[PreparedDrawing, Image.Image, int]
"""A row, its image, and the batch size it was generated with."""

_fits: dict[tuple[Any, ...], int] = {}
"""Model and image size -> the largest batch that fits, if the requested one did not, or the best one found."""


@dataclass
class RecoveringGenerator:
    """Generates the batches of one job and recovers from failures."""

    pipeline: Any
    job: Job
    on_lost: Callable[[str], None]
    """Called with the reason before this process ends because it has lost its device."""
    failed: dict[str, Failure] = field(default_factory=dict)
    """Image key -> reason why that image was not generated."""

    def draw(self, batch: list[PreparedDrawing]) -> list[GeneratedImage]:
        """Generate a batch and check its images; a faulty one is generated once more, from its seed, then set aside.

        Raises DeviceLost where this process must be replaced, BuildFailed where the recipe says to stop.
        """
        good, faulty = self._check(self._draw_apart(batch, 1))
        if faulty:
            repeated, faulty = self._check(self._draw_apart([prepared for prepared, _ in faulty], 2))
            good += repeated
            self.failed |= {prepared.drawing.key: Failure(fault, 2) for prepared, fault in faulty}
        return good

    def _check(
        self, images: list[tuple[Outcome, int]]
    ) -> tuple[list[GeneratedImage], list[tuple[PreparedDrawing, str]]]:
        good, faulty = [], []
        for (prepared, image, is_finite), size in images:
            fault = find_fault(image, is_finite, prepared.source, (prepared.width, prepared.height), self.job.checks)
            if fault:
                faulty.append((prepared, fault))
            else:
                good.append((prepared, image, size))
        return good, faulty

    def _draw_apart(self, batch: list[PreparedDrawing], attempt: int) -> list[tuple[Outcome, int]]:
        """Generate a batch; if it fails, its halves, until the images at fault stand alone in ``failed``."""
        size = self.max_batch_of(batch[0])
        try:
            with time_limit(self.job.batch_timeout, self.on_lost):
                if self.job.finds_batch_size and self._shape(batch[0]) not in _fits:
                    size = find_batch_size(self.pipeline, self.job.spec, batch[0], size)
                    _fits[self._shape(batch[0])] = size
                if len(batch) <= size:
                    return [(outcome, size) for outcome in draw_batch(self.pipeline, self.job.spec, batch, size)]
        except ImagemillError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            if is_sticky(error):
                self.on_lost(reason)
                raise DeviceLost(reason) from error
            fits = not is_out_of_memory(error)
        else:
            parts = [batch[start : start + size] for start in range(0, len(batch), size)]
            return [outcome for part in parts for outcome in self._draw_apart(part, attempt)]
        # Outside of the handler: the error's traceback keeps the tensors alive that filled the memory.
        if not fits:
            return self._draw_smaller(batch, size, reason, attempt)
        if len(batch) == 1:
            self.failed[batch[0].drawing.key] = Failure(reason, attempt)
            return []
        middle = len(batch) // 2
        return self._draw_apart(batch[:middle], attempt + 1) + self._draw_apart(batch[middle:], attempt + 1)

    def _draw_smaller(
        self, batch: list[PreparedDrawing], size: int, reason: str, attempt: int
    ) -> list[tuple[Outcome, int]]:
        """Apply the recipe's on_oom. Only the batch size ever changes, never the images' size or steps."""
        free_memory()
        if evict_others(self.job.spec):
            return self._draw_apart(batch, attempt)
        first = batch[0]
        detail = f"{reason} (batch of {size}, {first.width} x {first.height} pixels)"
        if self.job.on_oom == "stop":
            raise BuildFailed(
                f"{shown(self.job.spec.name)} ran out of memory: {detail}, and recipe.on_oom is 'stop'. Make "
                "batch_size "
                "smaller, or see the recipe's memory options."
            )
        if self.job.on_oom == "set_aside" or size == 1:
            self.failed |= {prepared.drawing.key: Failure(detail, attempt) for prepared in batch}
            return []
        _fits[self._shape(first)] = size // 2
        return self._draw_apart(batch, attempt)

    def _shape(self, like: PreparedDrawing) -> tuple[Any, ...]:
        spec, source, is_auto = self.job.spec, like.source, self.job.finds_batch_size
        return spec.weights_key, spec.pipeline, like.width, like.height, source and source.size, is_auto

    def max_batch_of(self, like: PreparedDrawing) -> int:
        """The most rows like this one of one call, as far as is known by now."""
        return min(self.job.batch_size, _fits.get(self._shape(like), self.job.batch_size))

    def check_model(self, like: PreparedDrawing) -> None:
        """Raises BuildFailed when images failed for one reason and a plain one of the same shape fails too.

        Then no row is at fault.
        """
        if len(self.failed) < 2 or len({failure.reason for failure in self.failed.values()}) > 1:
            return
        source = like.source and Image.new("RGB", like.source.size, "gray")
        plain = replace(like, drawing=replace(like.drawing, prompt="an image", seed=0), source=source)
        try:
            draw_batch(self.pipeline, self.job.spec, [plain], self.max_batch_of(like))
        except Exception as error:
            raise BuildFailed(
                f"the model {shown(self.job.spec.name)} fails on every image of {like.width} x {like.height} pixels "
                "and "
                f"{like.drawing.steps} steps, so no single row is at fault: {type(error).__name__}: {error}"
            ) from error
