"""What happens when a batch fails: a smaller one where memory ran out, a new process where the device is lost, and
else halves, until the rows at fault stand alone; the others are generated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import Image

from imagemill.data.errors import BuildFailed, ImagemillError
from imagemill.data.records import Failure
from imagemill.models.drawing.batch_size import find_batch_size
from imagemill.models.drawing.batches import PreparedDrawing
from imagemill.models.drawing.device_errors import DeviceLost, at_most, is_out_of_memory, is_sticky
from imagemill.models.drawing.image_checks import find_fault
from imagemill.models.drawing.pipeline_call import Outcome, draw_batch
from imagemill.models.job import Job
from imagemill.models.loading.device_memory import free_memory
from imagemill.models.loading.pipeline_cache import evict_others

GeneratedImage = tuple[PreparedDrawing, Image.Image, int]
"""A row, its image, and the batch size that it was generated with."""

_fits: dict[tuple[Any, ...], int] = {}
"""Model and image size -> the largest batch that was seen to fit, where the one asked for did not, or the best."""


@dataclass
class RecoveringGenerator:
    """Generates the batches of one job and copes with what goes wrong."""

    pipeline: Any
    job: Job
    lost: Callable[[str], None]
    """Told why, before this process ends because its device does nothing more for it."""
    failed: dict[str, Failure] = field(default_factory=dict)
    """Image key -> why that image could not be generated."""

    def draw(self, batch: list[PreparedDrawing]) -> list[GeneratedImage]:
        """Generate a batch and check its images; a faulty one is drawn once more, with the same seed, then set aside.

        Raises DeviceLost where this process must be replaced, BuildFailed where the recipe says to stop.
        """
        good, faulty = self._check(self._draw_apart(batch, 1))
        if faulty:
            again = self._draw_apart([asked for asked, _ in faulty], 2)
            better, faulty = self._check(again)
            good += better
            self.failed |= {asked.drawing.key: Failure(fault, 2) for asked, fault in faulty}
        return good

    def _check(
        self, images: list[tuple[Outcome, int]]
    ) -> tuple[list[GeneratedImage], list[tuple[PreparedDrawing, str]]]:
        good, faulty = [], []
        for (asked, image, is_finite), size in images:
            fault = find_fault(image, is_finite, asked.source, (asked.width, asked.height), self.job.checks)
            if fault:
                faulty.append((asked, fault))
            else:
                good.append((asked, image, size))
        return good, faulty

    def _draw_apart(self, batch: list[PreparedDrawing], attempt: int) -> list[tuple[Outcome, int]]:
        """Generate a batch; if it fails, its halves, until the images at fault stand alone in ``failed``."""
        size = self.max_batch_of(batch[0])
        try:
            with at_most(self.job.batch_timeout, self.lost):
                if self.job.finds_batch_size and self._shape(batch[0]) not in _fits:
                    size = find_batch_size(self.pipeline, self.job.spec, batch[0], size)
                    _fits[self._shape(batch[0])] = size
                if len(batch) <= size:
                    return [(one, size) for one in draw_batch(self.pipeline, self.job.spec, batch, size)]
        except ImagemillError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            if is_sticky(error):
                self.lost(reason)
                raise DeviceLost(reason) from error
            has_room = not is_out_of_memory(error)
        else:
            parts = [batch[start : start + size] for start in range(0, len(batch), size)]
            return [one for part in parts for one in self._draw_apart(part, attempt)]
        # Outside of the handler: the error's traceback holds on to the tensors that filled the memory.
        if not has_room:
            return self._draw_smaller(batch, size, reason, attempt)
        if len(batch) == 1:
            self.failed[batch[0].drawing.key] = Failure(reason, attempt)
            return []
        middle = len(batch) // 2
        return self._draw_apart(batch[:middle], attempt + 1) + self._draw_apart(batch[middle:], attempt + 1)

    def _draw_smaller(
        self, batch: list[PreparedDrawing], size: int, reason: str, attempt: int
    ) -> list[tuple[Outcome, int]]:
        """What the recipe's on_oom says. Nothing but the batch size ever changes: not the images' size or steps."""
        free_memory()
        if evict_others(self.job.spec):
            return self._draw_apart(batch, attempt)
        first = batch[0]
        told = f"{reason} (batch of {size}, {first.width} x {first.height} pixels)"
        if self.job.on_oom == "stop":
            raise BuildFailed(
                f"{self.job.spec.name!r} ran out of memory: {told}, and recipe.on_oom is 'stop'. Make batch_size "
                "smaller, or see the recipe's memory options."
            )
        if self.job.on_oom == "set_aside" or size == 1:
            self.failed |= {asked.drawing.key: Failure(told, attempt) for asked in batch}
            return []
        _fits[self._shape(first)] = size // 2
        return self._draw_apart(batch, attempt)

    def _shape(self, asked: PreparedDrawing) -> tuple[Any, ...]:
        spec, source = self.job.spec, asked.source
        found = self.job.finds_batch_size
        return spec.weights_key, spec.pipeline, asked.width, asked.height, source and source.size, found

    def max_batch_of(self, like: PreparedDrawing) -> int:
        """Rows like this one that are generated in one call, as far as is known by now."""
        return min(self.job.batch_size, _fits.get(self._shape(like), self.job.batch_size))

    def check_model(self, like: PreparedDrawing) -> None:
        """Raises BuildFailed when images failed alike and a plain one of the same shape fails too: no row is at
        fault."""
        if len(self.failed) < 2 or len({failure.reason for failure in self.failed.values()}) > 1:
            return
        source = like.source and Image.new("RGB", like.source.size, "gray")
        plain = replace(like, drawing=replace(like.drawing, prompt="an image", seed=0), source=source)
        try:
            draw_batch(self.pipeline, self.job.spec, [plain], self.max_batch_of(like))
        except Exception as error:
            raise BuildFailed(
                f"the model {self.job.spec.name!r} fails on every image of {like.width} x {like.height} pixels and "
                f"{like.drawing.steps} steps, so no single row is at fault: {type(error).__name__}: {error}"
            ) from error
